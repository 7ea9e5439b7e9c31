"""The strip below a picture says which colour stands for what."""

import numpy as np

from deeplab_repro.files.palette import voc_palette
from deeplab_repro.report.legend import LINE, SWATCH, entries, with_legend


def test_the_picture_stays_and_every_colour_is_below_it():
    picture = np.random.default_rng(0).integers(0, 255, (40, 300, 3), np.uint8)
    shown = entries([0, 5, 30, 255], ["sky", "b", "c", "d", "e", "bus"], voc_palette())
    assert [name for name, _ in shown] == ["sky", "bus", "30", "void"]
    result = with_legend(picture, shown)
    np.testing.assert_array_equal(result[:40, :300], picture)
    below = result[40:].reshape(-1, 3)
    for _, colour in shown:
        assert (below == colour).all(1).sum() > SWATCH**2 // 2


def test_narrow_pictures_get_more_lines():
    names = [f"class{index}" for index in range(20)]
    shown = entries(range(20), names, voc_palette())
    wide, narrow = (with_legend(np.zeros((10, side, 3), np.uint8), shown) for side in (1000, 30))
    assert narrow.shape[0] > wide.shape[0] + 2 * LINE
    assert narrow.shape[1] == 160
    assert with_legend(np.zeros((10, 30, 3), np.uint8), []).shape == (10, 30, 3)
