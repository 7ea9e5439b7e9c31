"""Peak memory of one dense CRF: python -m benchmarks.crf_memory CASE PROGRAM DEVICE prints MiB beyond its inputs.

A process of its own for each figure: what an allocator keeps from one program would hide the next one's peak.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import torch

from .cases import CrfCase

_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def peak_mib(case: CrfCase, program: str, device: str) -> float | None:
    """MiB that `program` ("ours", "pydensecrf") needs for the case; None where that cannot be measured (no Linux)."""
    command = [sys.executable, "-m", f"{__package__}.crf_memory", json.dumps(asdict(case)), program, device]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    return float(done.stdout) if done.returncode == 0 else None


def _status_mib(field: str) -> float:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) / 1024


def main(case_text: str, program: str, device: str) -> None:
    """Run once and print the peak."""
    from .crf_programs import programs

    call = programs(CrfCase(**json.loads(case_text)), device)[program]
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        print((torch.cuda.max_memory_allocated() - before) / 2**20)
        return
    _CLEAR.write_text("5")  # sets the peak to what is resident now
    before = _status_mib("VmRSS")
    call()
    print(_status_mib("VmHWM") - before)


if __name__ == "__main__":
    main(*sys.argv[1:])
