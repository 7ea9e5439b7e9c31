"""The recorded scores of bundled models, measured again."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from deeplab_repro.files.palette import save_label_png
from deeplab_repro.predict.preprocessing import bundled_record
from deeplab_repro.verify import own
from deeplab_repro.verify.answers import DIFFERS, REPRODUCED
from deeplab_repro.verify.run import Setup, verify


@pytest.fixture
def photographs(tmp_path):
    """One photograph of noise, all of it background."""
    root = tmp_path / "set"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    pixels = np.random.default_rng(3).integers(0, 256, (33, 49, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(root / "JPEGImages" / "one.jpg")
    save_label_png(np.zeros((33, 49), np.uint8), root / "SegmentationClass" / "one.png")
    (root / "ImageSets/Segmentation/val.txt").write_text("one\n")
    (root / "classes.json").write_text(json.dumps({"classes": bundled_record()["class_names"]}))
    return root


def test_records_are_what_stands_beside_the_models():
    before, after = own.own_records(["animals", "scenes"])
    val = bundled_record("animals")["val"]
    assert (before.value, after.value) == (100 * val["miou_before"], 100 * val["miou_after"])
    assert before.tolerance == own.TOLERANCE == 0.2


def test_another_score_differs_and_the_same_is_reproduced(photographs, tmp_path, monkeypatch):
    setup = Setup(tmp_path, {"animals": photographs}, tmp_path / "work", timings=False, only=("OWN*",))
    answers = verify(setup)
    assert [answer.record.id for answer in answers] == ["OWN-animals-before", "OWN-animals-after"]
    assert {answer.verdict for answer in answers} == {DIFFERS}
    assert "on 1 of the" in answers[0].detail
    # Counted once, kept, and compared with another record.
    found = {answer.record.id: answer.ours for answer in answers}
    records = own.own_records(["animals"])
    fitting = [replace(record, value=found[record.id] + 0.1) for record in records]
    monkeypatch.setattr(own, "own_records", lambda names: fitting)
    again = verify(setup)
    assert [answer.verdict for answer in again] == [REPRODUCED, REPRODUCED]
    assert again[0].as_json()["tolerance"] == 0.2


def test_a_folder_of_other_classes_is_refused(photographs, tmp_path):
    (photographs / "classes.json").write_text(json.dumps({"classes": ["a", "b"]}))
    with pytest.raises(ValueError, match="its classes are a, b; the model animals has background, cat"):
        own.own_answers(own.own_records(["animals"]), {"animals": photographs}, tmp_path / "work")
    setup = Setup(tmp_path, {"cityscape": photographs}, tmp_path / "work")
    with pytest.raises(ValueError, match=r"no such data set; known: .*animals"):
        verify(setup)
