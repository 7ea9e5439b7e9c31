"""Learnable blobs of layers that work element by element."""

from __future__ import annotations

import math

import pytest

from prototxt_import import layer


@pytest.mark.parametrize(
    ("type_name", "bottoms", "options", "expected"),
    [
        ("PReLU", [(1, 2, 3, 4)], {}, ((2,),)),
        ("PReLU", [(1, 2, 3, 4)], {"channel_shared": True}, ((1,),)),
    ],
)
def test_learnable_blobs(blobs, type_name, bottoms, options, expected):
    assert blobs(type_name, *bottoms, **options) == expected


@pytest.mark.parametrize("kind", ["Exp", "Log"])
@pytest.mark.parametrize("base", [0.0, -2.0, math.nan])
def test_a_base_that_caffe_refuses_is_refused(kind, base):
    with pytest.raises(ValueError, match=rf"layer 'l' \({kind}\): base is .*; it must be above 0, or -1 for e"):
        layer(kind, "l", "x", "y", base=base)


@pytest.mark.parametrize("kind", ["Exp", "Log"])
def test_e_and_numbers_above_0_are_bases(kind):
    assert [layer(kind, "l", "x", "y", base=base).options.base for base in (-1.0, 0.5)] == [-1.0, 0.5]
