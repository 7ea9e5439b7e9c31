"""Windows of tiles over an image."""

from itertools import pairwise

import pytest

from deeplab_repro.files.tiles import tile_windows


@pytest.mark.parametrize(
    ("length", "size", "overlap"), [(20, 8, 3), (8, 8, 0), (5, 8, 2), (2048, 1281, 128), (9, 8, 7)]
)
def test_tiles_cover_with_the_overlap_asked_for(length, size, overlap):
    spans = [window[0] for window in tile_windows(length, 1, (size, 1), (overlap, 0))]
    assert spans[0].start == 0
    assert spans[-1].stop == length
    assert all(span.stop - span.start == min(size, length) for span in spans)
    assert all(a.stop - b.start >= overlap for a, b in pairwise(spans))


def test_windows_go_row_by_row_and_an_overlap_must_fit():
    windows = tile_windows(6, 9, (4, 5), (1, 1))
    assert windows == [(rows, columns) for rows in (slice(0, 4), slice(2, 6)) for columns in (slice(0, 5), slice(4, 9))]
    assert tile_windows(3, 4, (8, 8), (0, 0)) == [(slice(0, 3), slice(0, 4))]
    for overlap in (-1, 4):
        with pytest.raises(ValueError, match=f"got {overlap} for tiles of 4"):
            tile_windows(6, 6, (4, 4), (overlap, 0))
