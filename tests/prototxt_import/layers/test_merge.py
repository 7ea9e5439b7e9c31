"""Tops of layers that join, cut and rearrange."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("type_name", "bottoms", "options", "expected"),
    [
        ("Concat", [(2, 3, 4), (2, 5, 4)], {}, (2, 8, 4)),
        ("Concat", [(2, 3, 4), (1, 3, 4)], {"axis": -3}, (3, 3, 4)),
        ("Flatten", [(2, 3, 4, 5)], {}, (2, 60)),
        ("Flatten", [(2, 3, 4, 5)], {"axis": 0, "end_axis": -2}, (24, 5)),
        ("Reshape", [(2, 8)], {"dims": (0, -1, 4)}, (2, 2, 4)),
        ("Reshape", [(2, 8)], {"dims": (1,), "axis": 1, "num_axes": 0}, (2, 1, 8)),
        ("Tile", [(2, 3)], {"tiles": 4}, (2, 12)),
        ("Filter", [(5, 3), (5, 1)], {}, (5, 3)),  # all items, until it has run
        ("Reduction", [(2, 3, 4)], {"axis": 1}, (2,)),
    ],
)
def test_tops(tops, type_name, bottoms, options, expected):
    assert tops(type_name, *bottoms, **options) == expected


def test_a_bottom_that_does_not_divide_is_refused(tops):
    with pytest.raises(ValueError, match="does not reshape"):
        tops("Reshape", (2, 8), dims=(2, 4), axis=-1, num_axes=0)


def test_slice_cuts_at_points_or_into_equal_parts(tops):
    assert tops("Slice", (2, 6), count=3) == ((2, 2), (2, 2), (2, 2))
    assert tops("Slice", (2, 6), count=2, slice_points=(1,)) == ((2, 1), (2, 5))
    with pytest.raises(ValueError, match="equal parts"):
        tops("Slice", (2, 5), count=2)
    with pytest.raises(ValueError, match="must rise"):
        tops("Slice", (2, 6), count=3, slice_points=(4, 2))


def test_permute_keeps_the_axes_that_order_leaves_out(tops):
    assert tops("Permute", (2, 3, 4, 5), order=(0, 2, 3, 1)) == (2, 4, 5, 3)
    assert tops("Permute", (2, 3, 4, 5), order=(3,)) == (5, 2, 3, 4)
    for order, word in (((1, 1), "names an axis twice"), ((4,), "lacks")):
        with pytest.raises(ValueError, match=word):
            tops("Permute", (2, 3, 4, 5), order=order)
