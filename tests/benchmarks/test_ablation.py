from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import ablation
from benchmarks.ablation_report import compare, print_report
from deeplab_repro.data.scenes.scenes import CLASSES, draw_scene
from prototxt_import import read_weights
from tests.deeplab_repro.zoo.test_backbone import write_classifier
from tests.sets import write_set


def result(arm: str, seed: int, network: float, crf: float) -> dict:
    stage = {"trimap_miou": {"5": 0.1}}
    return {"arm": arm, "seed": seed, "network": {"miou": network, **stage}, "crf": {"miou": crf, **stage}}


@pytest.fixture
def streets(tmp_path):
    """Two training scenes and one to score, in the layout of the CamVid folder."""
    pairs = {f"s{seed}": draw_scene(seed, 48, 64) for seed in range(3)}
    held = {"s2": pairs.pop("s2")}
    colours = np.zeros((len(CLASSES), 3), int).tolist()
    return write_set(tmp_path / "streets", {"train": pairs, "val": held}, classes=list(CLASSES), colours=colours)


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


def test_a_head_on_a_classifier_is_scored_at_other_strides_and_scales_too(streets, tmp_path):
    words = [str(streets), "-o", str(tmp_path / "out"), "--backbone", str(write_classifier(tmp_path / "small"))]
    words += ["--arms", "poly,aspp_s", "--seeds", "1", "--iterations", "2", "--batch", "1", "--crop", "65"]
    words += ["--cut", "b3/add", "--frozen-until", "b2", "--json", str(tmp_path / "all.json")]
    words += ["--orderings", str(tmp_path / "orderings.json")]
    lines: list[str] = []
    assert ablation.main(words, lines.append) == 0
    answer = json.loads((tmp_path / "all.json").read_text())
    base, wider = answer["runs"]
    assert base["backbone"] == "small"
    for run in (base, wider):
        assert all(0 <= run[stage]["miou"] <= 1 for stage in ("network", "crf", "msc", "stride 8", "stride 32"))
    compared = {(row["better"], row["worse"]) for row in answer["comparisons"]}
    assert {("poly stride 8", "poly network"), ("poly msc", "poly network")} < compared
    assert any("stride 32" in line for line in lines)
    shown = json.loads((tmp_path / "orderings.json").read_text())
    assert shown["comparisons"] == answer["comparisons"]
    assert shown["about"] == "heads on small, 2 iterations of 1 crops, 1 seeds, 1 pictures of streets"
    begun, ended = (
        read_weights(tmp_path / "out/poly_1" / name) for name in ("init.caffemodel", "train_iter_2.caffemodel")
    )
    assert np.array_equal(begun["b1/project"][0], ended["b1/project"][0])
    assert not np.array_equal(begun["b2/project"][0], ended["b2/project"][0])


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
