"""Overlapping tiles of large images."""

from __future__ import annotations

from itertools import product


def tile_windows(height: int, width: int, size: tuple[int, int], overlap: tuple[int, int]) -> list[tuple[slice, slice]]:
    """Cover an image with windows, row by row, evenly spread. An image smaller than a tile is one window.

    Args:
        height: Rows of the image.
        width: Columns of the image.
        size: (height, width) that no window exceeds.
        overlap: (rows, columns) that neighbours share at least.

    Returns:
        Slices of rows and of columns, one pair a window.

    Raises:
        ValueError: Not 0 <= overlap < size.

    Example:
        >>> from deeplab_repro.files.tiles import tile_windows
        >>> [(columns.start, columns.stop) for _, columns in tile_windows(10, 25, (10, 10), (0, 2))]
        [(0, 10), (7, 17), (15, 25)]
    """
    rows, columns = _spans(height, size[0], overlap[0]), _spans(width, size[1], overlap[1])
    return list(product(rows, columns))


def _spans(length: int, size: int, overlap: int) -> list[slice]:
    if not 0 <= overlap < size:
        raise ValueError(f"tiles: an overlap must lie in 0..size - 1, got {overlap} for tiles of {size}")
    if length <= size:
        return [slice(0, length)]
    steps = -(-(length - size) // (size - overlap))
    return [slice(start, start + size) for start in (i * (length - size) // steps for i in range(steps + 1))]
