"""`deeplab demo`: what it prints of the demo's answer, and its exit code."""

import json

import pytest


def _demo_answer(matches, scored=True):
    scores = {
        "images": 3,
        "miou_before": 0.8,
        "miou_after": 0.9,
        "iou_before": {"cat": 0.7},
        "iou_after": {"cat": 0.75},
    }
    return {
        "photographs": {"one": {"before": {"cat": 0.4}, "after": {"cat": 0.25, "sky": 0.75}}},
        "matches_recorded": matches,
        "device": "cpu",
        **(scores if scored else {}),
        "seconds": {"segment": 1.0},
        "report": "there/report.html",
    }


@pytest.mark.parametrize(("matches", "code"), [(True, 0), (False, 1)])
@pytest.mark.parametrize("scored", [True, False])
def test_demo_shows_what_was_found(deeplab, monkeypatch, tmp_path, matches, code, scored):
    calls = []

    def run_demo(folder, **options):
        calls.append((folder, options))
        return _demo_answer(matches, scored)

    monkeypatch.setattr("deeplab_repro.demo.run.run_demo", run_demo)
    result = deeplab("demo", "-o", tmp_path, "--data", tmp_path, "--device", "cpu")
    assert result.exit_code == code, result.output
    ((folder, options),) = calls
    assert folder == tmp_path
    assert (options["device"], options["data"]) == ("cpu", tmp_path)
    for word in ("cat 25.0 %", "there/report.html", "1 photographs on cpu"):
        assert word in result.stdout
    assert ("IoU on 3 photographs" in result.stdout) == ("0.9000" in result.stdout) == scored
    assert ("this build computes something else" in result.stdout) == (not matches)


def test_json_goes_to_its_file_and_the_code_tells_too(deeplab, monkeypatch, tmp_path):
    monkeypatch.setattr("deeplab_repro.demo.run.run_demo", lambda folder, **options: _demo_answer(False))
    result = deeplab("demo", "-o", tmp_path, "--json", tmp_path / "a.json")
    assert result.exit_code == 1
    assert json.loads((tmp_path / "a.json").read_text()) == _demo_answer(False)


def test_unfit_command_lines_are_refused(refused, tmp_path):
    refused("gone", "demo", "-o", tmp_path / "out", "--data", tmp_path / "gone")
    refused("/proc/nope", "demo", "-o", tmp_path / "out", "--json", "/proc/nope/a.json")
    (tmp_path / "file").touch()
    refused("file", "demo", "-o", tmp_path / "file", "--device", "cpu")
    assert not (tmp_path / "out").exists()
