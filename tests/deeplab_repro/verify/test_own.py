"""The recorded scores of bundled models, measured again."""

import json
from dataclasses import replace

import numpy as np
import pytest

from deeplab_repro.predict.preprocessing import bundled_record
from deeplab_repro.verify import own
from deeplab_repro.verify.answers import DIFFERS, REPRODUCED
from deeplab_repro.verify.run import Setup, verify
from tests.sets import write_set


@pytest.fixture
def photographs(tmp_path):
    """One photograph of noise, all of it background."""
    pixels = np.random.default_rng(3).integers(0, 256, (33, 49, 3)).astype(np.uint8)
    one = {"one": (pixels, np.zeros((33, 49), np.uint8))}
    return write_set(tmp_path / "set", {"val": one}, classes=bundled_record()["class_names"])


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
