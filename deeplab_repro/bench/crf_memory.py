"""Peak memory of one dense CRF: python -m deeplab_repro.bench.crf_memory CASE PROGRAM prints MiB beyond its inputs.

A process of its own for each figure: what an allocator keeps from one program would hide the next one's peak.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict

import torch

from deeplab_repro.bench.cases import CrfCase
from deeplab_repro.bench.crf_programs import Call, programs
from deeplab_repro.bench.memory import reset_peak, resident_mib


def peak_mib(case: CrfCase, program: str) -> float | None:
    """MiB that `program` ("ours", "pydensecrf") needs on the CPU; None where that cannot be measured (no Linux)."""
    command = [sys.executable, "-m", f"{__package__}.crf_memory", json.dumps(asdict(case)), program]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    return float(done.stdout) if done.returncode == 0 else None


def cuda_peak_mib(call: Call) -> float:
    """MiB of GPU memory that a call takes beyond what is allocated."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def main(case_text: str, program: str) -> None:
    """Run once and print the peak."""
    call = programs(CrfCase(**json.loads(case_text)), "cpu")[program]
    reset_peak()
    before = resident_mib("VmRSS")
    call()
    print(resident_mib("VmHWM") - before)


if __name__ == "__main__":
    main(*sys.argv[1:])
