"""`deeplab demo`: what it prints of the demo's answer, and its exit code."""

import json

import pytest


def _demo_answer(matches):
    return {
        "scenes": 2,
        "device": "cpu",
        "miou_before": 0.8,
        "miou_after": 0.9,
        "recorded_before": 0.81,
        "recorded_after": 0.91,
        "matches_recorded": matches,
        "iou_before": {"sky": 0.7},
        "iou_after": {"sky": 0.75},
        "seconds": {"segment": 1.0},
        "report": "there/report.html",
    }


@pytest.mark.parametrize(("matches", "code"), [(True, 0), (None, 0), (False, 1)])
def test_demo_shows_scores_beside_the_recorded_ones(deeplab, monkeypatch, tmp_path, matches, code):
    calls = []

    def run_demo(folder, **options):
        calls.append((folder, options))
        return _demo_answer(matches)

    monkeypatch.setattr("deeplab_repro.demo.run.run_demo", run_demo)
    result = deeplab("demo", "-o", tmp_path, "--scenes", 2, "--device", "cpu")
    assert result.exit_code == code, result.output
    ((folder, options),) = calls
    assert folder == tmp_path
    assert (options["device"], options["scenes"]) == ("cpu", 2)
    for word in ("0.8000", "0.9000", "sky", "there/report.html"):
        assert word in result.stdout
    assert ("0.9100" in result.stdout) == (matches is not None)
    assert json.loads(deeplab("demo", "-o", tmp_path, "--json", "-").stdout)["miou_after"] == 0.9


def test_scores_that_are_not_the_recorded_ones_are_told_and_json_goes_to_its_file(deeplab, monkeypatch, tmp_path):
    monkeypatch.setattr("deeplab_repro.demo.run.run_demo", lambda folder, **options: _demo_answer(False))
    result = deeplab("demo", "-o", tmp_path, "--json", tmp_path / "a.json")
    assert result.exit_code == 1
    assert "this build computes something else" in result.stdout
    assert json.loads((tmp_path / "a.json").read_text()) == _demo_answer(False)


def test_one_scene_is_segmented_and_drawn(deeplab, tmp_path):
    result = deeplab("demo", "-o", tmp_path / "out", "--scenes", 1, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert f"report: {tmp_path / 'out' / 'report.html'}" in result.stdout
    assert "recorded" in result.stdout  # the column stays, without numbers
    assert (tmp_path / "out" / "scene_01_after.png").is_file()


def test_unfit_command_lines_are_refused(refused, tmp_path):
    refused("--scenes", "demo", "-o", tmp_path / "out", "--scenes", 0)
    refused("/proc/nope", "demo", "-o", tmp_path / "out", "--json", "/proc/nope/a.json")
    (tmp_path / "file").touch()
    refused("file", "demo", "-o", tmp_path / "file", "--scenes", 1, "--device", "cpu")
    assert not (tmp_path / "out").exists()
