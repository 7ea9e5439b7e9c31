import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_repro.data.scenes.scenes import CLASSES, PALETTE, draw_scene
from deeplab_repro.demo.run import RECORDED_TOLERANCE, run_demo
from deeplab_repro.predict.preprocessing import BUNDLED
from prototxt_import import read_net, read_weights


@pytest.fixture(scope="module")
def facts():
    return json.loads(BUNDLED.with_suffix(".json").read_text())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The demo on all its scenes: its folder and its answer."""
    folder = tmp_path_factory.mktemp("demo")
    return folder, run_demo(folder / "out", device="cpu")


def test_bundled_files_are_small_v1_files_with_holes(facts):
    text = BUNDLED.read_text()
    assert re.search(r"^layers\s*{", text, re.M)
    assert re.search(r"\bhole: 12\b", text)
    assert "dilation" not in text
    assert BUNDLED.with_suffix(".caffemodel").stat().st_size <= 6_000_000
    spec = read_net(BUNDLED, BUNDLED.with_suffix(".caffemodel"))
    assert spec.dialect == "v1"
    assert spec.missing_weights == ()
    assert spec.blobs["fc8_interp"][1] == len(CLASSES)
    assert tuple(facts["class_names"]) == CLASSES
    assert facts["palette"] == PALETTE.tolist()
    assert facts["mean_bgr"] == [104.008, 116.669, 122.675]


def test_bundled_model_scores_and_the_crf_gains(whole, facts):
    _, answer = whole
    assert answer["scenes"] == 20
    assert answer["miou_before"] >= 0.75
    assert answer["miou_after"] >= answer["miou_before"] + 0.005
    assert answer["miou_before"] == pytest.approx(facts["demo"]["miou_before"], abs=RECORDED_TOLERANCE)
    assert answer["miou_after"] == pytest.approx(facts["demo"]["miou_after"], abs=RECORDED_TOLERANCE)
    assert answer["matches_recorded"] is True


def test_demo_scenes_are_seen_neither_in_training_nor_in_validation(facts):
    seeds = set(facts["demo"]["seeds"])
    first = facts["recipe"]["first_training_seed"]
    assert len(seeds) == 20
    assert max(seeds) < first
    assert not seeds & set(facts["validation"]["seeds"])


def test_demo_writes_the_checkpoint_the_report_and_all_pictures(whole):
    folder, answer = whole
    out = folder / "out"
    assert answer["tensors"] == sum(len(blobs) for blobs in read_weights(BUNDLED.with_suffix(".caffemodel")).values())
    names = {path.name for path in out.iterdir()}
    kinds = ("input", "truth", "scores", "before", "after")
    assert names == {"bundled.safetensors", "report.html"} | {
        f"scene_{i:02d}_{k}.png" for i in range(1, 21) for k in kinds
    }
    _, truth = draw_scene(3)
    with Image.open(out / "scene_03_truth.png") as image:
        np.testing.assert_array_equal(np.asarray(image), truth)


def test_demo_report_needs_nothing_outside_itself(whole):
    html = Path(whole[1]["report"]).read_text()
    assert "http:" not in html
    assert "https:" not in html
    assert html.count("<figure>") == 100


def test_fewer_scenes_are_not_compared_with_the_record(tmp_path):
    answer = run_demo(tmp_path, device="cpu", scenes=1)
    assert answer["scenes"] == 1
    assert answer["matches_recorded"] is None
    with pytest.raises(ValueError, match="scenes"):
        run_demo(tmp_path / "none", scenes=0)
    assert not (tmp_path / "none").exists()
