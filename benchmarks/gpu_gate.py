"""python -m benchmarks.gpu_gate --out DIR: build for the GPU that is here, prove the CUDA kernels right, time them.

Ends within its deadline whatever a step does: each step is a process with a time limit of its own. Needs the present
interpreter's torch with CUDA, nvcc and a GPU; no network. Exit code 0; 1 where a correctness step failed or did not
finish; 2 where there is no GPU to test.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# The last seconds before the deadline belong to the report.
RESERVE_S = 10
# Files of timed rows, `<family>...`.
ROWS = ("conv", "conv_backward", "crf", "crf_accuracy")


@dataclass(frozen=True)
class Step:
    """One process of the gate; `limit_s` holds where the deadline leaves as much."""

    name: str
    command: tuple[str, ...]
    limit_s: int
    environment: dict[str, str] = field(default_factory=dict)
    needed: bool = True  # its failure, or its not finishing, fails the gate


@dataclass
class Result:
    name: str
    status: str  # "passed", "failed", "timed out", "not run", "skipped"
    seconds: float
    detail: str
    fails_gate: bool


def steps(out: Path, architecture: str) -> list[Step]:
    """What the gate runs, in this order."""
    python = sys.executable
    bench = (python, "-m", "benchmarks.run", "--device", "cuda")
    result = [
        Step("build", (python, "setup.py", "build_ext", "--inplace"), 240,
             {"TORCH_CUDA_ARCH_LIST": architecture, "DEEPLAB_CUDA": "1"}),
        Step("small run", (python, "-m", "benchmarks.small_run", "cuda"), 60),
        Step("pytest", (python, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider", "tests"), 200),
        Step("crf", (*bench, "crf", "--gate", "--seconds", "0.5", "--json", str(out / "crf.json")), 120),
        Step("crf accuracy", (*bench, "crf", "--accuracy", "--json", str(out / "crf_accuracy.json")), 40),
        Step("conv", (*bench, "conv", "--batch", "1", "10", "--precision", "fp32", "tf32", "fp16", "bf16",
                      "--seconds", "0.25", "--json", str(out / "conv.json")), 90),
        Step("conv backward", (*bench, "conv", "--direction", "backward", "--precision", "fp32", "bf16",
                               "--seconds", "0.25", "--json", str(out / "conv_backward.json")), 60),
    ]  # fmt: skip
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer:
        watched = (sanitizer, "--tool", "memcheck", "--error-exitcode", "99", python, "-m", "benchmarks.small_run")
        # torch's caching allocator would hide what lies beyond an array.
        result.insert(2, Step("memcheck", watched, 90, {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}, needed=False))
    return result


def run_step(step: Step, deadline: float, log: Path) -> Result:
    """Run one step to its end, its limit or the deadline; its output goes to `log`."""
    start = time.monotonic()
    limit = min(step.limit_s, deadline - start)
    if limit < 5:
        return Result(step.name, "not run", 0.0, "no time was left", step.needed)
    environment = os.environ | {"PYTHONUNBUFFERED": "1"} | step.environment
    with log.open("a") as output:
        output.write(f"\n$ {' '.join(step.command)}\n")
        output.flush()
        offset = output.tell()
        process = subprocess.Popen(
            step.command, cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return Result(step.name, "timed out", limit, f"stopped after {limit:.0f} s", step.needed)
    seconds = time.monotonic() - start
    text = log.read_text(errors="replace")[offset:]
    last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
    if code == 0:
        return Result(step.name, "passed", seconds, last, False)
    if step.name == "memcheck" and code != 99:
        # Some virtual machines keep the GPU from debuggers.
        return Result(step.name, "skipped", seconds, f"compute-sanitizer could not watch: {last}", False)
    return Result(step.name, "failed", seconds, f"exit code {code}: {last}", True)


def missing() -> str | None:
    """Why the gate cannot run here; None where it can."""
    try:
        import torch
    except ImportError:
        return f"{sys.executable} has no torch"
    if torch.version.cuda is None:
        return f"torch {torch.__version__} was built without CUDA"
    if not torch.cuda.is_available():
        return "torch sees no CUDA device"
    if shutil.which("nvcc") is None and not Path("/usr/local/cuda/bin/nvcc").is_file():
        return "nvcc was not found"
    return None


def architecture() -> str:
    """Of the first GPU, as TORCH_CUDA_ARCH_LIST has it: "9.0a"."""
    import torch

    major, minor = torch.cuda.get_device_capability(0)
    return f"{major}.{minor}" + ("a" if major >= 9 else "")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.gpu_gate", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder for logs and JSON")
    parser.add_argument("--minutes", type=float, default=9.0, help="deadline")
    parser.add_argument("--dry-run", action="store_true", help="print the steps and run none")
    options = parser.parse_args(arguments)
    reason = missing()
    if options.dry_run:
        for step in steps(options.out, "native" if reason else architecture()):
            print(f"{step.name} (at most {step.limit_s} s): {' '.join(step.command)}")
    if reason:
        print(f"gpu-gate: {reason}; run it where torch has CUDA, nvcc is installed and a GPU is present")
        return 2
    return 0 if options.dry_run else _run(options.out.resolve(), time.monotonic() + options.minutes * 60 - RESERVE_S)


def _run(out: Path, deadline: float) -> int:
    from .machine import machine_record
    from .run import write_json

    out.mkdir(parents=True, exist_ok=True)
    log = out / "gpu_gate.log"
    log.write_text("")
    for name in ROWS:
        (out / f"{name}.json").unlink(missing_ok=True)
    report: dict[str, Any] = {"machine": machine_record(), "architecture": architecture()}
    results: list[Result] = []
    for step in steps(out, architecture()):
        results.append(run_step(step, deadline, log))
        last = results[-1]
        print(f"{last.name}: {last.status} in {last.seconds:.0f} s; {last.detail}", flush=True)
        report["steps"] = [asdict(result) for result in results]
        write_json(out / "gpu_gate.json", report)
        if step.name == "build" and last.fails_gate:
            break
    for name in ROWS:
        _print_rows(out / f"{name}.json", "conv" if name == "conv_backward" else name)
    failed = [result.name for result in results if result.fails_gate]
    print(f"gpu-gate: {'failed: ' + ', '.join(failed) if failed else 'passed'}; the figures are in {out.name}/")
    return 1 if failed else 0


def _print_rows(path: Path, family: str) -> None:
    if not path.is_file():
        return
    from . import conv, crf, crf_accuracy

    formatters = {"conv": conv.format_row, "crf": crf.format_row, "crf_accuracy": crf_accuracy.format_row}
    formatter = formatters[family]
    for row in json.loads(path.read_text())[family]:
        print(formatter(row))


if __name__ == "__main__":
    sys.exit(main())
