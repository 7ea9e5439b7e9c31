"""Bounds of work and memory for files that are small and ask for much."""

from __future__ import annotations

import time
import tracemalloc
from contextlib import contextmanager

MIB = 2**20
_PASSES = 1_000_000


def _loop_seconds() -> float:
    """Processor seconds of a million passes of an empty loop: what a step of Python costs here and now."""
    begin = time.thread_time()
    for _ in range(_PASSES):
        pass
    return time.thread_time() - begin


@contextmanager
def quick(steps=400_000_000):
    """Fails where the block takes more processor time than an empty loop of so many steps.

    Every case here is made to take minutes if anything is done twice over. Processor time of this thread, beside a loop
    timed right after it, does not depend on what else the machine does."""
    begin = time.thread_time()
    yield
    taken = time.thread_time() - begin
    assert taken < steps / _PASSES * max(_loop_seconds() for _ in range(3))


@contextmanager
def lean(mib):
    """Fails where the block takes more memory at its peak."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < mib * MIB
