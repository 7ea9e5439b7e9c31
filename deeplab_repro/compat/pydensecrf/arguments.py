"""How pydensecrf reads its arguments: typed memory views, C integers, numbers or sequences of them; and its errors."""

from __future__ import annotations

from numbers import Number
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

__all__: list[str] = []  # pydensecrf shows none of it


def typed_view(name: str, value: Any, dtype: type = np.float32, axes: int = 2) -> NDArray:
    """A C-contiguous array of that dtype and number of axes; the errors of a typed memory view for another."""
    if value is None:
        raise TypeError(f"Argument '{name}' must not be None")
    if not isinstance(value, np.ndarray):
        value = np.asarray(memoryview(value))
    if value.dtype != dtype:
        raise ValueError(f"Buffer dtype mismatch for '{name}', expected {np.dtype(dtype)} but got {value.dtype}")
    if value.ndim != axes:
        raise ValueError(f"Buffer has wrong number of dimensions (expected {axes}, got {value.ndim})")
    if not value.flags.c_contiguous:
        raise ValueError(f"'{name}' is not C-contiguous; pass it through numpy.ascontiguousarray")
    return value


def inplace(name: str, value: Any, shape: tuple[int, int]) -> NDArray:
    """An array to be written into, checked; TypeError and ValueError as pydensecrf raises."""
    if not isinstance(value, np.ndarray):
        raise TypeError(f"Argument '{name}' has incorrect type (expected numpy.ndarray, got {type(value).__name__})")
    if value.shape != shape or value.dtype != np.float32:
        raise ValueError(f"Bad shape for {name} (Need float32 {shape}, got {value.dtype} {value.shape})")
    return value


def integer(value: Any) -> int:
    """Numbers are cut to integers, as pydensecrf does; TypeError for anything else."""
    if not isinstance(value, Number):
        raise TypeError(f"an integer is required, not {type(value).__name__}")
    return int(cast(float, value))


def numbers(value: Any, count: int) -> list[float]:
    """A number repeated, or the first `count` of a sequence; TypeError and IndexError as pydensecrf raises."""
    if isinstance(value, Number):
        return [float(cast(float, value))] * count
    numbers = [value[i] for i in range(count)]
    if not all(isinstance(number, Number) for number in numbers):
        raise TypeError(f"must be real number, not {type(value).__name__}")
    return [float(number) for number in numbers]
