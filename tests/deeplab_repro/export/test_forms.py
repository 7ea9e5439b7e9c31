"""The files of a zoo net's training that are asked for."""

import pytest

from deeplab_repro import zoo
from deeplab_repro.export.forms import own_data, zoo_forms

SMALL = {"width": 1 / 32, "size": (65, 65)}


def test_each_form_is_written_when_it_is_asked_for():
    nets, texts = zoo_forms("deeplab_largefov", True, False, True, {}, **SMALL)
    assert [file for file, _ in nets] == ["train.prototxt", "deploy.prototxt"]
    assert list(texts) == ["solver.prototxt"]
    assert nets[1][1] == zoo.spec("deeplab_largefov", **SMALL)
    nets, texts = zoo_forms("deeplab_largefov", False, True, False, {}, **SMALL)
    assert [file for file, _ in nets] == ["train.prototxt", "train2.prototxt"]
    assert {"solver.prototxt", "run.sh"} <= set(texts)


def test_values_fill_the_paths_and_others_stay_open():
    values = {"DATA_ROOT": "/data", "TRAIN_SET": "train_aug"}
    ((_, net),), _ = zoo_forms("deeplab_largefov", True, False, False, values, **SMALL)
    data = net.layer("data").options
    assert (data.root_folder, data.source) == ("/data", "${EXP}/list/train_aug.txt")


def test_unknown_facts_are_refused():
    with pytest.raises(ValueError, match="dataset 'ade20k' is unknown"):
        zoo_forms("deeplab_largefov", False, False, True, {}, dataset="ade20k")


def test_own_data_is_what_lists_writes(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        own_data(tmp_path / "gone")
    (tmp_path / "list").mkdir()
    with pytest.raises(ValueError, match=r"no list/train\.txt; make it so: deeplab lists voc-layout"):
        own_data(tmp_path, ("train",))
    (tmp_path / "list" / "train.txt").write_text("/a.png /b.png\n")
    with pytest.raises(ValueError, match=r"no classes\.json"):
        own_data(tmp_path, ("train",))
    (tmp_path / "classes.json").write_text('{"classes": ["x", "y"]}')
    own = own_data(tmp_path, ("train",))
    assert (own.root, own.classes) == (tmp_path.resolve(), 2)
    assert own.lists == {"list/train.txt": "/a.png /b.png\n"}
