"""Times of several callables, alternated so that a drifting clock or a busy neighbour meets all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch

# A CUDA sample covers at least this long, so that launch jitter is small beside it.
_CUDA_SAMPLE_MS = 2.0
_MIN_ROUNDS = 3


@dataclass(frozen=True)
class Timing:
    """Milliseconds per call: median, fastest and interquartile range over `samples`."""

    median_ms: float
    best_ms: float
    spread_ms: float
    samples: int


def alternate(
    calls: Mapping[str, Callable[[], object]], device: str, rounds: int = 9, seconds: float = 5.0
) -> dict[str, Timing]:
    """Time each of `calls` once per round: at most `rounds` and, after three, at most `seconds` in all.

    The first call of each (autotuning, page faults) is not counted.
    """
    for call in calls.values():
        call()
    repeats = {name: _repeats(call, device) for name, call in calls.items()}
    samples: dict[str, list[float]] = {name: [] for name in calls}
    start = time.perf_counter()
    for done in range(rounds):
        if done >= _MIN_ROUNDS and time.perf_counter() - start > seconds:
            break
        for name, call in calls.items():
            samples[name].append(_elapsed_ms(call, device, repeats[name]))
    return {name: _summary(values) for name, values in samples.items()}


def peak_gflops(device: str, dtype: torch.dtype, seconds: float = 1.0) -> float:
    """GFLOP/s of the fastest of torch's square matrix products: what a convolution could reach at most."""
    best = 0.0
    for side in (512, 1024) if device == "cpu" else (4096, 8192):
        a = torch.ones(side, side, device=device, dtype=dtype)
        timing = alternate({"mm": partial(torch.mm, a, a)}, device, rounds=200, seconds=seconds / 2)["mm"]
        best = max(best, 2 * side**3 / timing.best_ms / 1e6)
    return best


def _repeats(call: Callable[[], object], device: str) -> int:
    if device == "cpu":
        return 1
    once = max(_elapsed_ms(call, device, 1), 1e-3)
    return max(1, min(100, int(_CUDA_SAMPLE_MS / once)))


def _elapsed_ms(call: Callable[[], object], device: str, repeats: int) -> float:
    if device == "cpu":
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        return (time.perf_counter() - start) * 1e3 / repeats
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record()
    for _ in range(repeats):
        call()
    last.record()
    last.synchronize()
    return first.elapsed_time(last) / repeats


def _summary(values: list[float]) -> Timing:
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return Timing(statistics.median(values), min(values), high - low, len(values))
