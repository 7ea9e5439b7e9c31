"""The gate's own machinery, which needs no GPU."""

import sys
import time

import pytest

from benchmarks import gpu_gate
from benchmarks.gpu_gate import Step


def python(code: str) -> tuple[str, ...]:
    return sys.executable, "-c", code


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log"
    path.write_text("")
    return path


@pytest.mark.parametrize("arguments", [[], ["--dry-run"]])
def test_without_a_gpu_one_line_says_so(monkeypatch, capsys, tmp_path, arguments):
    monkeypatch.setattr(gpu_gate, "missing", lambda: "torch sees no CUDA device")
    assert gpu_gate.main(["--out", str(tmp_path / "out"), *arguments]) == 2
    assert "gpu-gate: torch sees no CUDA device; run it where" in capsys.readouterr().out.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_dry_run_lists_the_steps(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(gpu_gate, "missing", lambda: None)
    monkeypatch.setattr(gpu_gate, "architecture", lambda: "9.0a")
    assert gpu_gate.main(["--out", str(tmp_path / "out"), "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" (")[0] for line in lines] == [
        "build", "small run", "memcheck conv", "racecheck crf", "memcheck", "pytest", "crf",
        "crf accuracy", "conv", "net",
    ]  # fmt: skip
    assert gpu_gate.main(["--out", str(tmp_path / "out"), "--dry-run", "--only", "build", "conv"]) == 0
    assert [line.partition(" (")[0] for line in capsys.readouterr().out.splitlines()] == ["build", "conv"]


def test_a_step_whose_tool_is_absent_is_skipped_with_the_reason(log):
    result = gpu_gate.run_step(Step("s", ("nothing",), 60, absent="no tool"), time.monotonic() + 60, log)
    assert (result.status, result.detail, result.fails_gate) == ("skipped", "no tool", False)


def test_tests_for_the_gpu_are_found():
    files = gpu_gate._gpu_tests()
    assert "tests/deeplab_repro/ops/test_conv_cuda.py" in files
    without = "tests/prototxt_import/prototxt/test_text.py"
    assert (gpu_gate.ROOT / without).is_file()
    assert without not in files


def test_a_step_passes_with_its_last_line(log):
    result = gpu_gate.run_step(Step("s", python("print('one'); print('two'); print()"), 60), time.monotonic() + 60, log)
    assert (result.status, result.detail, result.fails_gate) == ("passed", "two", False)
    assert "one\ntwo" in log.read_text()


def test_a_failing_step_fails_the_gate(log):
    result = gpu_gate.run_step(Step("s", python("raise SystemExit('no')"), 60), time.monotonic() + 60, log)
    assert (result.status, result.detail, result.fails_gate) == ("failed", "exit code 1: no", True)


def test_a_step_ends_at_the_deadline_with_its_children(log):
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(3600)'])"
    result = gpu_gate.run_step(Step("s", python(code), 60), time.monotonic() + 5.5, log)  # a child left over holds it
    assert result.status == "timed out"
    assert result.fails_gate


def test_no_step_starts_after_the_deadline(log):
    result = gpu_gate.run_step(Step("s", python("print(1)"), 60), time.monotonic(), log)
    assert (result.status, result.fails_gate) == ("not run", True)
    assert log.read_text() == ""


@pytest.mark.parametrize(("code", "status", "fails"), [(99, "failed", True), (1, "skipped", False)])
def test_a_memory_checker_that_cannot_watch_is_skipped(log, code, status, fails):
    step = Step("memcheck", (*python(f"raise SystemExit({code})"), "--error-exitcode"), 60, needed=False)
    result = gpu_gate.run_step(step, time.monotonic() + 60, log)
    assert (result.status, result.fails_gate) == (status, fails)


def test_the_gate_reports_every_step(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(gpu_gate, "missing", lambda: None)
    monkeypatch.setattr(gpu_gate, "architecture", lambda: "9.0a")
    planned = [Step("build", python("print('built')"), 60), Step("pytest", python("raise SystemExit(1)"), 60)]
    monkeypatch.setattr(gpu_gate, "steps", lambda out, architecture: planned)
    assert gpu_gate.main(["--out", str(tmp_path)]) == 1
    assert "gpu-gate: failed: pytest" in capsys.readouterr().out
    assert '"status": "failed"' in (tmp_path / "gpu_gate.json").read_text()
