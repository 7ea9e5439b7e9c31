"""Data sets as they are opened."""

import json

import pytest

from deeplab_repro.data.sets.datasets import read_classes


@pytest.mark.parametrize("key", ["classes", "names"])
def test_class_names_have_either_key(tmp_path, key):
    (tmp_path / "classes.json").write_text(json.dumps({key: ["sky", "sea"], "colours": [[0, 0, 0], [1, 2, 3]]}))
    assert read_classes(tmp_path / "classes.json") == (("sky", "sea"), ((0, 0, 0), (1, 2, 3)), (255,))


@pytest.mark.parametrize(
    ("facts", "word"),
    [
        ({"classes": []}, "0 classes"),
        ({"classes": list(range(256))}, "256 classes"),
        ({"classes": ["a", "b"], "colours": [[0, 0, 0]]}, "each of the 2 classes"),
        ({"classes": ["a"], "colours": [[0, 0, 256]]}, r"0\.\.255"),
        ({"classes": ["a"], "void_label": -1}, "void_label is -1"),
        (["a"], "must be JSON"),
    ],
)
def test_class_files_that_make_no_sense_are_refused(tmp_path, facts, word):
    (tmp_path / "classes.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match=rf"classes\.json: .*{word}"):
        read_classes(tmp_path / "classes.json")
