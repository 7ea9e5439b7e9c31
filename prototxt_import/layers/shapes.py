"""Rules for shapes that many layer types share, and what of a map an element of the next one depends on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from prototxt_import.values import Shape

# Caffe keeps element counts in a C int, and blobs have at most this many axes.
MAX_COUNT = 2**31 - 1
MAX_AXES = 32

# (low, high, step): element i of a top depends on elements step * i + low to step * i + high below it.
Reach = tuple[float, float, float]
HERE: Reach = (0, 0, 1)


def count(shape: Iterable[int]) -> int:
    """Number of elements of a shape.

    Args:
        shape: Its sides.

    Returns:
        Their product.

    Raises:
        ValueError: It has more axes than a blob can have.
    """
    sides = tuple(shape)
    if len(sides) > MAX_AXES:
        raise ValueError(f"a shape of {len(sides)} axes is more than a blob's {MAX_AXES}")
    return math.prod(sides)


def check_padded(bottom: Shape, pad: tuple[int, int]) -> None:
    """Check that Caffe can count the elements of a bottom with its padding.

    Args:
        bottom: An (N, C, H, W) shape.
        pad: What is added on each side, (h, w).

    Raises:
        ValueError: There are more, or the bottom has other axes.
    """
    n, c, h, w = spatial(bottom)
    if n * c * (h + 2 * pad[0]) * (w + 2 * pad[1]) > MAX_COUNT:
        raise ValueError(f"bottom {list(bottom)} with pad {pad} on each side has more than {MAX_COUNT} elements")


def spatial(shape: Shape) -> tuple[int, int, int, int]:
    """The sides of a map.

    Args:
        shape: A bottom's shape.

    Returns:
        (N, C, H, W).

    Raises:
        ValueError: It has not four axes.
    """
    if len(shape) != 4:
        raise ValueError(f"needs a bottom of 4 axes (N, C, H, W), got {list(shape)}")
    return shape[0], shape[1], shape[2], shape[3]


def canonical(axis: int, shape: Shape) -> int:
    """An axis counted from the first.

    Args:
        axis: The axis, negative where it counts from the end.
        shape: The shape that it is of.

    Returns:
        A number from 0.

    Raises:
        ValueError: The shape has no such axis.
    """
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f"axis {axis} is outside a bottom of shape {list(shape)}")
    return axis % len(shape)


def pair(value: int | Sequence[int]) -> tuple[int, int]:
    """What holds for rows and for columns.

    Args:
        value: One number for both, or (h, w).

    Returns:
        (h, w).
    """
    if isinstance(value, int):
        return value, value
    height, width = value
    return height, width


def across_channels(axis: int) -> tuple[Reach, Reach] | None:
    """The reach of what joins, cuts or normalises maps along an axis.

    Args:
        axis: That axis of (N, C, H, W).

    Returns:
        The position itself; None along rows or columns.
    """
    return (HERE, HERE) if axis in (0, 1, -3, -4) else None
