"""Where our dense CRF's time goes, step by step, measured while the operator runs as it always does."""

from __future__ import annotations

import time
from collections import defaultdict

import torch

from deeplab_repro.bench.crf_programs import Call
from deeplab_repro.ops import _C

# Kernels of csrc/cuda by the functor in their names; what no row names belongs to building the lattices.
_CUDA_STEPS = {
    "SplatAt": "splat",
    "CombineAt": "splat",
    "BlurAt": "blur",
    "UpdateAt": "slice + softmax",
    "FromBlocksAt": "copy",
    "Memcpy": "copy",
}


def split_ms(call: Call, device: str) -> dict[str, float]:
    """Milliseconds of each step of one call: on the CPU by the launchers' own clock, on CUDA by the profiler.

    What no step covers (features, copies, allocation) is "rest"."""
    call()
    return _on_cuda(call) if device == "cuda" else _on_cpu(call)


def _on_cpu(call: Call) -> dict[str, float]:
    start = time.perf_counter()
    steps = {name: 1e3 * seconds for name, seconds in _C.stage_seconds(call).items()}
    return _with_rest(steps, 1e3 * (time.perf_counter() - start))


def _on_cuda(call: Call) -> dict[str, float]:
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        start = time.perf_counter()
        call()
        torch.cuda.synchronize()
        total = 1e3 * (time.perf_counter() - start)
    steps: defaultdict[str, float] = defaultdict(float)
    for event in profile.events():
        step = next((step for part, step in _CUDA_STEPS.items() if part in event.name), "build")
        steps[step] += event.self_device_time_total / 1e3
    return _with_rest(dict(steps), total)


def _with_rest(steps: dict[str, float], total: float) -> dict[str, float]:
    return {**steps, "rest": max(0.0, total - sum(steps.values()))}
