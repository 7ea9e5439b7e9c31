"""Memory that one call takes while it runs, seen from inside the process."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from pathlib import Path

from torch import Tensor

_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def reset_peak() -> None:
    """Let this process's peak begin at what it holds now. OSError where the system has no such thing."""
    _CLEAR.write_text("5")


def resident_mib(field: str) -> float:
    """A size out of /proc/self/status: VmRSS, what is resident; VmHWM, the most that was."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) / 1024


def extra_mib(call: Callable[[], Iterable[Tensor]]) -> float | None:
    """MiB that the process grows by during a call, beyond the tensors it returns; None where that cannot be seen.

    What earlier calls left in the allocator is given back to the system first, so that its use counts too. Needs Linux
    and the C library of GNU."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
        trim(0)
        reset_peak()
    except (AttributeError, OSError):
        return None
    before = resident_mib("VmRSS")
    result = call()
    peak = resident_mib("VmHWM")
    return peak - before - sum(tensor.nbytes for tensor in result) / 2**20
