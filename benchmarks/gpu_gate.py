"""python -m benchmarks.gpu_gate --out DIR: build for the GPU that is here, prove the CUDA kernels right, time them.

Ends within its deadline whatever a step does: each step is a process with a time limit of its own. Needs the present
interpreter's torch with CUDA, nvcc and a GPU; no network. Exit code 0; 1 where a correctness step failed or did not
finish; 2 where there is no GPU to test.
"""

from __future__ import annotations

import argparse
import json
import os
import re
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
# The mark, or the fixture of tests/deeplab_repro/ops/conftest.py that has it.
_FOR_GPU = re.compile(r"mark\.gpu|\(device\b")
# Files of timed rows, `<family>...`.
ROWS = ("crf", "crf_accuracy")


@dataclass(frozen=True)
class Step:
    """One process of the gate; `limit_s` holds where the deadline leaves as much."""

    name: str
    command: tuple[str, ...]
    limit_s: int
    environment: dict[str, str] = field(default_factory=dict)
    needed: bool = True  # its failure, or its not finishing, fails the gate
    absent: str = ""  # why it cannot run here


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
    bench = (python, "-m", "deeplab_repro.bench.run", "--device", "cuda")
    result = [
        Step("build", (python, "setup.py", "build_ext", "--inplace"), 240,
             {"TORCH_CUDA_ARCH_LIST": architecture, "DEEPLAB_CUDA": "1"}),
        Step("small run", (python, "-m", "benchmarks.small_run", "cuda"), 60),
        Step("pytest", (python, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider", *_gpu_tests()), 180),
        Step("crf", (*bench, "crf", "--gate", "--seconds", "0.5", "--json", str(out / "crf.json")), 120),
        Step("crf accuracy", (*bench, "crf", "--accuracy", "--json", str(out / "crf_accuracy.json")), 40),
        # Their own deadlines come first, so that what was measured is written.
        Step("conv", (python, "-m", "benchmarks.conv_cuda", "--json", str(out / "conv.json"), "--deadline", "100"),
             120),
        Step("net", (python, "-m", "benchmarks.net_cuda", "--json", str(out / "net.json"), "--deadline", "75"), 120),
    ]  # fmt: skip
    result[2:2] = (
        # Convolutions first and alone: what a checker takes for all kernels may be more than there is time for.
        _watched("memcheck conv", "memcheck", ("benchmarks.small_run_conv", "cuda")),
        _watched("racecheck crf", "racecheck", ("benchmarks.small_run_crf", "cuda", "shared")),
        _watched("memcheck", "memcheck", ("benchmarks.small_run",)),
    )
    return result


def _gpu_tests() -> list[str]:
    """The test files that have something for a GPU; the others may need packages that are not here."""
    tests = (ROOT / "tests").rglob("test_*.py")
    return sorted(str(path.relative_to(ROOT)) for path in tests if _FOR_GPU.search(path.read_text()))


def _watched(name: str, tool: str, module: tuple[str, ...]) -> Step:
    """The small run under one of compute-sanitizer's tools."""
    sanitizer = shutil.which("compute-sanitizer")
    command = (sanitizer or "", "--tool", tool, "--error-exitcode", "99", sys.executable, "-m", *module)
    # torch's caching allocator would hide what lies beyond an array.
    environment = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    absent = "" if sanitizer else "compute-sanitizer is not on the PATH"
    return Step(name, command, 60, environment, needed=False, absent=absent)


def run_step(step: Step, deadline: float, log: Path) -> Result:
    """Run one step to its end, its limit or the deadline; its output goes to `log`."""
    if step.absent:
        return Result(step.name, "skipped", 0.0, step.absent, False)
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
    if "--error-exitcode" in step.command and code != 99:
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
    parser.add_argument("--only", nargs="+", metavar="STEP", help="of the steps only these, by name, e.g. build conv")
    parser.add_argument("--dry-run", action="store_true", help="print the steps and run none")
    options = parser.parse_args(arguments)
    reason = missing()
    if options.dry_run:
        for step in _chosen(options.out, "native" if reason else architecture(), options.only):
            print(f"{step.name} (at most {step.limit_s} s): {' '.join(step.command)}")
    if reason:
        print(f"gpu-gate: {reason}; run it where torch has CUDA, nvcc is installed and a GPU is present")
        return 2
    return (
        0
        if options.dry_run
        else _run(options.out.resolve(), time.monotonic() + options.minutes * 60 - RESERVE_S, options.only)
    )


def _chosen(out: Path, architecture: str, only: Sequence[str] | None) -> list[Step]:
    return [step for step in steps(out, architecture) if only is None or step.name in only]


def _run(out: Path, deadline: float, only: Sequence[str] | None) -> int:
    from deeplab_repro.bench.machine import machine_record
    from deeplab_repro.bench.run import write_json

    out.mkdir(parents=True, exist_ok=True)
    log = out / "gpu_gate.log"
    log.write_text("")
    for name in ROWS:
        (out / f"{name}.json").unlink(missing_ok=True)
    report: dict[str, Any] = {"machine": machine_record(), "architecture": architecture()}
    results: list[Result] = []
    for step in _chosen(out, architecture(), only):
        results.append(run_step(step, deadline, log))
        last = results[-1]
        print(f"{last.name}: {last.status} in {last.seconds:.0f} s; {last.detail}", flush=True)
        report["steps"] = [asdict(result) for result in results]
        write_json(out / "gpu_gate.json", report)
        if step.name == "build" and last.fails_gate:
            break
    for name in ROWS:
        _print_rows(out / f"{name}.json", name)
    failed = [result.name for result in results if result.fails_gate]
    print(f"gpu-gate: {'failed: ' + ', '.join(failed) if failed else 'passed'}; the figures are in {out.name}/")
    return 1 if failed else 0


def _print_rows(path: Path, family: str) -> None:
    if not path.is_file():
        return
    from deeplab_repro.bench import crf, crf_accuracy

    formatter = {"crf": crf.format_row, "crf_accuracy": crf_accuracy.format_row}[family]
    for row in json.loads(path.read_text())[family]:
        print(formatter(row))


if __name__ == "__main__":
    sys.exit(main())
