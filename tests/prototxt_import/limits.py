"""Bounds of time and memory for files that are small and ask for much."""

from __future__ import annotations

import time
import tracemalloc
from contextlib import contextmanager

MIB = 2**20


@contextmanager
def quick(seconds=10.0):
    """Fails where the block takes longer: every case here is made to take minutes if anything is done twice over."""
    begin = time.perf_counter()
    yield
    assert time.perf_counter() - begin < seconds


@contextmanager
def lean(mib):
    """Fails where the block takes more memory at its peak."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < mib * MIB
