"""Overlapping tiles of large images, and segmenting them tile by tile."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from deeplab_repro.predict.segmenter import Segmenter


def tile_windows(height: int, width: int, size: tuple[int, int], overlap: tuple[int, int]) -> list[tuple[slice, slice]]:
    """Windows of at most `size` (height, width) that cover an image, row by row, evenly spread; neighbours share at
    least `overlap` rows and columns. An image smaller than a tile is one window.

    Raises ValueError unless 0 <= overlap < size."""
    spans = [_spans(*each) for each in zip((height, width), size, overlap, strict=True)]
    return list(product(*spans))


def _spans(length: int, size: int, overlap: int) -> list[slice]:
    if not 0 <= overlap < size:
        raise ValueError(f"tiles: an overlap must lie in 0..size - 1, got {overlap} for tiles of {size}")
    if length <= size:
        return [slice(0, length)]
    steps = -(-(length - size) // (size - overlap))
    return [slice(start, start + size) for start in (i * (length - size) // steps for i in range(steps + 1))]


def tiled_scores(
    segmenter: Segmenter, image: NDArray[np.uint8], size: tuple[int, int], overlap: tuple[int, int]
) -> NDArray[np.float32]:
    """Scores [L, H, W] of an image segmented tile by tile, the mean where tiles overlap.

    The second paper's "Full" setting for Cityscapes: overlapping regions at full resolution, scores fused."""
    height, width = image.shape[:2]
    total: NDArray[np.float32] | None = None
    count = np.zeros((height, width), np.float32)
    for window in tile_windows(height, width, size, overlap):
        scores = segmenter(np.ascontiguousarray(image[window])).scores
        if total is None:
            total = np.zeros((scores.shape[0], height, width), np.float32)
        total[(slice(None), *window)] += scores
        count[window] += 1
    assert total is not None
    total /= count
    return total
