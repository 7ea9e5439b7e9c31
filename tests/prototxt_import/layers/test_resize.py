"""Sizes after Interp, Padding and Crop."""

from __future__ import annotations

import pytest

from prototxt_import import parse_net


@pytest.mark.parametrize(
    ("type_name", "bottoms", "options", "expected"),
    [
        ("Crop", [(1, 2, 9, 9), (1, 5, 4, 5)], {"offset": (2, 3)}, (1, 2, 4, 5)),
    ],
)
def test_tops(tops, type_name, bottoms, options, expected):
    assert tops(type_name, *bottoms, **options) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"zoom_factor": 8}, (321, 321)),
        ({"shrink_factor": 8}, (6, 6)),
        ({"shrink_factor": 4, "zoom_factor": 3}, (31, 31)),
        ({"height": 7, "width": 9}, (7, 9)),
        ({"zoom_factor": 2, "pad_beg": -1, "pad_end": -2}, (75, 75)),
    ],
)
def test_interp_sizes(tops, options, expected):
    assert tops("Interp", (1, 2, 41, 41), **options)[2:] == expected


def interp(fields, dialect="auto"):
    text = 'input: "x" input_shape { dim: 1 dim: 1 dim: 5 dim: 5 }'
    text += f'layer {{ name: "i" type: "Interp" bottom: "x" top: "y" interp_param {{ {fields} }} }}'
    return parse_net(text, dialect=dialect).layers[0].options


def test_interp_target_is_chosen_in_caffes_order():
    assert interp("shrink_factor: 2 height: 9 width: 9").height is None
    assert interp("zoom_factor: 2 height: 9 width: 9").height is None
    both = interp("zoom_factor: 2 shrink_factor: 2 height: 9 width: 9")
    assert (both.height, both.zoom_factor) == (9, None)
    with pytest.raises(ValueError, match="only one of"):
        interp("zoom_factor: 2 shrink_factor: 2", dialect="v1")


def test_padding_adds_or_crops_both_axes(tops):
    assert tops("Padding", (1, 2, 529, 529), pad_beg=-7, pad_end=-8) == (1, 2, 514, 514)
    assert tops("Padding", (1, 2, 5, 6), pad_beg=1, pad_end=2) == (1, 2, 8, 9)
    with pytest.raises(ValueError, match="must not differ in sign"):
        tops("Padding", (1, 2, 5, 6), pad_beg=-1, pad_end=2)


def test_interp_pads_only_crop():
    with pytest.raises(ValueError, match="pad_beg 1 and pad_end 0 may only crop"):
        interp("zoom_factor: 2 pad_beg: 1")


def test_shrunk_labels_of_the_first_release_meet_its_scores(tops):
    assert tops("Interp", (1, 1, 306, 306), shrink_factor=8, pad_beg=-1) == (1, 1, 39, 39)
    assert tops("Interp", (1, 1, 306, 306), shrink_factor=8) == (1, 1, 39, 39)
    assert tops("Interp", (1, 1, 321, 321), shrink_factor=8) == (1, 1, 41, 41)
