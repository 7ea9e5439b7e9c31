"""Options of `eval` and `trimap`: tiles."""

import pytest

from deeplab_repro.cli.eval_options import parse_tile


def test_tiles_are_height_width_and_overlap():
    assert parse_tile(None) is None
    assert parse_tile("721x1281+128") == ((721, 1281), (128, 128))
    assert parse_tile("9x7") == ((9, 7), (0, 0))


@pytest.mark.parametrize("text", ["9", "9x", "x9", "9x9x9", "9x9+a", "", "9.5x9"])
def test_other_text_is_no_tile(text):
    with pytest.raises(ValueError, match="must be HEIGHTxWIDTH"):
        parse_tile(text)


@pytest.mark.parametrize("text", ["9x7+7", "9x7+-1", "0x0", "9x-1"])
def test_tiles_overlap_by_less_than_a_side(text):
    with pytest.raises(ValueError, match="the overlap must lie below both sides"):
        parse_tile(text)
