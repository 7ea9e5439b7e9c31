"""Segmenting large images tile by tile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deeplab_repro.files.tiles import tile_windows

if TYPE_CHECKING:
    from deeplab_repro.predict.segmenter import Segmenter


def tiled_scores(
    segmenter: Segmenter, image: NDArray[np.uint8], size: tuple[int, int], overlap: tuple[int, int]
) -> NDArray[np.float32]:
    """Scores of an image segmented tile by tile, the mean where tiles overlap.

    Args:
        segmenter: What segments.
        image: RGB uint8 [H, W, 3].
        size: Of a tile, (height, width).
        overlap: Pixels that neighbours share, (vertical, horizontal).

    Returns:
        float32 [L, H, W].

    Source:
        Chen et al. 2016, the "Full" setting for Cityscapes: overlapping regions at full resolution, scores fused.
    """
    height, width = image.shape[:2]
    total: NDArray[np.float32] | None = None
    count = np.zeros((height, width), np.float32)
    for window in tile_windows(height, width, size, overlap):
        scores = segmenter.scores(np.ascontiguousarray(image[window]))
        if total is None:
            total = np.zeros((scores.shape[0], height, width), np.float32)
        total[(slice(None), *window)] += scores
        count[window] += 1
    assert total is not None
    total /= count
    return total
