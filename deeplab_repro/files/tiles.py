"""Overlapping tiles of large images."""

from __future__ import annotations

from itertools import product


def tile_windows(height: int, width: int, size: tuple[int, int], overlap: tuple[int, int]) -> list[tuple[slice, slice]]:
    """Windows of at most `size` (height, width) that cover an image, row by row, evenly spread; neighbours share at
    least `overlap` rows and columns. An image smaller than a tile is one window.

    Raises ValueError unless 0 <= overlap < size."""
    rows, columns = _spans(height, size[0], overlap[0]), _spans(width, size[1], overlap[1])
    return list(product(rows, columns))


def _spans(length: int, size: int, overlap: int) -> list[slice]:
    if not 0 <= overlap < size:
        raise ValueError(f"tiles: an overlap must lie in 0..size - 1, got {overlap} for tiles of {size}")
    if length <= size:
        return [slice(0, length)]
    steps = -(-(length - size) // (size - overlap))
    return [slice(start, start + size) for start in (i * (length - size) // steps for i in range(steps + 1))]
