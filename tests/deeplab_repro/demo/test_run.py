import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_repro.demo import run
from deeplab_repro.demo.run import RECORDED_TOLERANCE, confidence, run_demo, shares
from deeplab_repro.files.shipped import shipped
from deeplab_repro.predict.preprocessing import bundled_file, bundled_record
from prototxt_import import read_weights
from tests.sets import write_set


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The demo: its folder and its answer."""
    folder = tmp_path_factory.mktemp("demo")
    return folder / "out", run_demo(folder / "out", device="cpu")


def test_every_photograph_has_its_licence():
    told = (shipped("photographs/cat.jpg").parent / "README.md").read_text()
    names = sorted(file.name for file in shipped("photographs/cat.jpg").parent.glob("*.jpg"))
    assert [name for name in names if name not in told] == []
    assert sorted(bundled_record()["demo"]) == [name.removesuffix(".jpg") for name in names]


def test_the_demo_finds_what_is_recorded(whole):
    _, answer = whole
    assert answer["matches_recorded"] is True
    for name, stages in bundled_record()["demo"].items():
        for stage, wanted in stages.items():
            assert answer["photographs"][name][stage] == pytest.approx(wanted, abs=RECORDED_TOLERANCE)
    assert max(answer["photographs"]["cat"]["after"].items(), key=lambda item: item[1])[0] == "cat"
    assert answer["photographs"]["astronaut"]["after"]["person"] > 0.3


def test_demo_writes_the_checkpoint_the_report_and_all_pictures(whole):
    out, answer = whole
    model = bundled_file()
    assert answer["tensors"] == sum(len(blobs) for blobs in read_weights(model.with_suffix(".caffemodel")).values())
    kinds = ("input", "confidence", "before", "after", "overlay")
    pictures = {f"{name}_{kind}.png" for name in bundled_record()["demo"] for kind in kinds}
    assert {path.name for path in out.iterdir()} == {f"{model.stem}.safetensors", "report.html"} | pictures
    with Image.open(out / "cat_after.png") as image:
        labels = np.asarray(image)
    assert shares(labels, bundled_record()["class_names"]) == answer["photographs"]["cat"]["after"]


def test_demo_report_needs_nothing_outside_itself(whole):
    html = Path(whole[1]["report"]).read_text()
    assert not re.search(r"https?:", html)
    assert html.count("<figure>") == 15
    assert "mean IoU" in html


def test_another_build_that_finds_something_else_is_told(tmp_path, monkeypatch):
    other = json.loads(json.dumps(bundled_record()))
    other["demo"] = {"cat": {"before": {"dog": 1.0}, "after": {"dog": 1.0}}}
    monkeypatch.setattr(run, "bundled_record", lambda: other)
    assert run_demo(tmp_path / "out", device="cpu")["matches_recorded"] is False


def test_a_labelled_folder_is_scored(tmp_path):
    facts = bundled_record()
    image = np.asarray(Image.open(shipped("photographs/cat.jpg")).resize((97, 65)))
    labels = np.zeros((65, 97), np.uint8)
    labels[:, :60] = facts["class_names"].index("cat")
    root = write_set(
        tmp_path / "set", {"val": {"one": (image, labels)}}, names=facts["class_names"], colours=facts["palette"]
    )
    answer = run_demo(tmp_path / "out", device="cpu", data=root)
    assert answer["images"] == 1
    assert 0 < answer["miou_before"] <= 1
    assert set(answer["iou_after"]) == set(facts["class_names"])
    assert "Scores on 1 labelled photographs" in (tmp_path / "out" / "report.html").read_text()
    (root / "classes.json").write_text(json.dumps({"classes": ["a", "b"]}))
    with pytest.raises(ValueError, match=r"its classes are a, b; the bundled model's are background, cat"):
        run_demo(tmp_path / "none", data=root)
    assert not (tmp_path / "none").exists()


def test_confidence_is_brightest_where_one_class_leads():
    scores = np.array([[[9.0, 0.0]], [[0.0, 0.0]]], np.float32)
    sure, unsure = confidence(scores)[0]
    assert sure.sum() > unsure.sum()
