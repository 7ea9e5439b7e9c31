"""The table of layer types."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from prototxt_import import layer, parse_net
from prototxt_import.layers import Options, layer_types, register, table


def test_own_types_can_be_registered():
    @register("Twice", v1="")
    @dataclass(frozen=True)
    class TwiceOptions(Options):
        def shapes(self, bottoms, tops):
            return ((*bottoms[0][:-1], 2 * bottoms[0][-1]),)

    try:
        text = 'input: "x" input_shape { dim: 1 dim: 5 } layer { name: "t" type: "Twice" bottom: "x" top: "y" }'
        assert parse_net(text).blobs["y"] == (1, 10)
        with pytest.raises(ValueError, match="registered already"):
            register("Twice")(TwiceOptions)
    finally:
        del table._types["Twice"]


def test_no_two_types_share_an_old_name():
    rows = layer_types()
    old = [row.v1 for row in rows if row.v1] + [name for row in rows for name in row.v0]
    assert len(old) == len(set(old))


@pytest.mark.parametrize(("axis", "flat", "expected"), [(1, False, 1), (1, True, 1), (-1, True, 1), (-1, False, None)])
def test_a_pointwise_type_means_the_same_at_every_position_along_the_channels_only(axis, flat, expected):
    there = layer("Softmax", "s", "x", "y", axis=axis).options.per_position(flat)
    assert (None if there is None else there.axis) == expected


@pytest.mark.parametrize(
    ("type_name", "options", "expected"),
    [
        ("ReLU", {}, ((0, 0, 1), (0, 0, 1))),
        ("Softmax", {"axis": 2}, None),
        ("Flatten", {}, None),
        ("Convolution", {"num_output": 1, "kernel": (3, 2), "dilation": 2, "pad": (1, 0)}, ((-1, 3, 1), (0, 2, 1))),
        ("Pooling", {"kernel": 3, "stride": 2}, ((0, 2, 2), (0, 2, 2))),
        ("Pooling", {"global_pooling": True}, None),
        ("LRN", {"norm_region": "WITHIN_CHANNEL", "local_size": 3}, ((-1, 1, 1), (-1, 1, 1))),
        ("Padding", {"pad_beg": 1, "pad_end": 2}, ((-1, -1, 1), (-1, -1, 1))),
        ("ArgMax", {"axis": 1}, ((0, 0, 1), (0, 0, 1))),
        ("ArgMax", {}, None),
    ],
)
def test_what_of_a_map_an_element_depends_on(type_name, options, expected):
    built = layer(type_name, "l", "x", "y", **options)
    assert built.options.reach((1, 3, 9, 9), (1, 3, 9, 9)) == expected
