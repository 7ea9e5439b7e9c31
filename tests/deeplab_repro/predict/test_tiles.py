"""Large images segmented tile by tile."""

import numpy as np
import pytest

from deeplab_repro.predict.tiles import tiled_scores


class Positions:
    """In place of a segmenter: scores are the pixels' own channels, plus how many tiles came before."""

    def __init__(self):
        self.tiles = []

    def scores(self, tile):
        assert tile.flags.c_contiguous
        self.tiles.append(tile.shape[:2])
        return tile.transpose(2, 0, 1).astype(np.float32) + len(self.tiles) - 1


@pytest.mark.parametrize(("height", "width"), [(5, 7), (8, 9), (20, 33)])
def test_tiles_meet_where_they_belong(height, width):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    segmenter = Positions()
    scores = tiled_scores(segmenter, image, (8, 9), (3, 2))
    assert (scores.shape, scores.dtype) == ((3, height, width), np.float32)
    assert all(rows <= 8 and columns <= 9 for rows, columns in segmenter.tiles)
    # What the stand-in adds is the same in all channels: differences are the image's.
    np.testing.assert_allclose(
        scores[1:] - scores[:1], (image[..., 1:].astype(np.float32) - image[..., :1]).transpose(2, 0, 1), atol=1e-3
    )


def test_scores_are_the_mean_where_tiles_overlap():
    segmenter = Positions()
    scores = tiled_scores(segmenter, np.zeros((4, 10, 3), np.uint8), (4, 6), (0, 2))
    assert segmenter.tiles == [(4, 6), (4, 6)]
    assert scores[0, 0].tolist() == [0, 0, 0, 0, 0.5, 0.5, 1, 1, 1, 1]
