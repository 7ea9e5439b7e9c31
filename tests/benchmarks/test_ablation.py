from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks import ablation
from benchmarks.ablation_report import compare, print_report
from deeplab_repro.data.scenes.scenes import CLASSES, draw_scene
from deeplab_repro.files.palette import save_label_png


def result(arm: str, seed: int, network: float, crf: float) -> dict:
    stage = {"trimap_miou": {"5": 0.1}}
    return {"arm": arm, "seed": seed, "network": {"miou": network, **stage}, "crf": {"miou": crf, **stage}}


@pytest.fixture
def streets(tmp_path):
    """Two training scenes and one to score, in the layout of the CamVid folder."""
    root = tmp_path / "streets"
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / name).mkdir(parents=True)
    for seed in range(3):
        image, labels = draw_scene(seed, 48, 64)
        Image.fromarray(image).save(root / "JPEGImages" / f"s{seed}.jpg")
        save_label_png(labels, root / "SegmentationClass" / f"s{seed}.png")
    (root / "ImageSets/Segmentation/train.txt").write_text("s0\ns1\n")
    (root / "ImageSets/Segmentation/val.txt").write_text("s2\n")
    colours = np.zeros((len(CLASSES), 3), int).tolist()
    (root / "classes.json").write_text(json.dumps({"classes": list(CLASSES), "colours": colours}))
    return root


def test_a_run_is_trained_folded_scored_and_then_kept(streets, tmp_path, monkeypatch):
    words = [str(streets), "-o", str(tmp_path / "out"), "--arms", "poly", "--seeds", "1", "--iterations", "2"]
    words += ["--batch", "1", "--width", "0.125", "--json", str(tmp_path / "all.json")]
    lines: list[str] = []
    monkeypatch.setattr(ablation.Scale, "crop", 33)
    assert ablation.main(words, lines.append) == 0
    answer = json.loads((tmp_path / "all.json").read_text())
    (run,) = answer["runs"]
    assert 0 <= run["network"]["miou"] <= 1
    assert set(run["crf"]["trimap_miou"]) == set(map(str, ablation.TRIMAP_WIDTHS))
    assert [row["better"] for row in answer["comparisons"]] == ["poly crf"]
    assert (tmp_path / "out/poly_1/plain.caffemodel").exists()

    monkeypatch.setattr(ablation, "train", lambda *arguments: pytest.fail("trained again"))
    assert ablation.main(words, lines.append) == 0


def test_other_settings_do_not_mix_with_results_that_are_there(streets, tmp_path, monkeypatch):
    words = [str(streets), "-o", str(tmp_path / "out"), "--arms", "poly", "--seeds", "1", "--width", "0.125"]
    monkeypatch.setattr(ablation, "train", lambda *arguments: pytest.fail("trained"))
    (tmp_path / "out/poly_1").mkdir(parents=True)
    (tmp_path / "out/poly_1/run.json").write_text(json.dumps({"arm": "poly", "iterations": 7}))
    with pytest.raises(ValueError, match="iterations"):
        ablation.main([*words, "--iterations", "8"], lambda line: None)


def test_an_ordering_agrees_only_when_all_seeds_do():
    runs = [result("poly", 1, 0.40, 0.41), result("poly", 2, 0.42, 0.41), result("aspp_l", 1, 0.41, 0.43)]
    runs += [result("aspp_l", 2, 0.44, 0.45)]
    rows = {(row["better"], row["worse"]): row for row in compare(runs)}
    assert rows["aspp_l network", "poly network"]["verdict"] == "agrees"
    assert rows["aspp_l network", "poly network"]["points"] == pytest.approx([1, 2])
    assert rows["poly crf", "poly network"]["verdict"] == "unclear"
    assert ("poly network", "step network") not in rows
    assert {row["verdict"] for row in compare(runs[:1])} == {"unclear"}


def test_the_report_has_a_line_for_each_arm():
    lines: list[str] = []
    print_report([result("poly", 1, 0.4, 0.41), result("step", 1, 0.3, 0.35)], lines.append)
    assert any(line.startswith("poly") and "40.00" in line for line in lines)
    assert any(line.startswith("step") and "35.00" in line for line in lines)
