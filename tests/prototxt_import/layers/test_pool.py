"""Sizes of pooled maps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prototxt_import import parse_net
from prototxt_import.layers.pool import PoolingOptions


@pytest.mark.parametrize(
    ("type_name", "bottoms", "options", "expected"),
    [
        ("SPP", [(2, 3, 9, 9)], {"pyramid_height": 3}, (2, 63)),
    ],
)
def test_tops(tops, type_name, bottoms, options, expected):
    assert tops(type_name, *bottoms, **options) == expected


@pytest.mark.parametrize(
    ("size", "pooled"), [(306, (154, 78, 40)), (321, (161, 81, 41)), (513, (257, 129, 65)), (65, (33, 17, 9))]
)
def test_pool_chain_of_the_published_nets(tops, size, pooled):
    shape = (1, 1, size, size)
    for expected in pooled:
        shape = tops("Pooling", shape, kernel=3, stride=2, pad=1)
        assert shape[2:] == (expected, expected)


def test_pool_drops_last_window_past_the_padded_image_only(tops):
    assert tops("Pooling", (1, 1, 3, 3), kernel=2, stride=2)[2:] == (2, 2)
    assert tops("Pooling", (1, 1, 3, 3), kernel=2, stride=2, pad=1)[2:] == (2, 2)
    assert tops("Pooling", (1, 1, 2, 2), kernel=2, stride=2, pad=1)[2:] == (2, 2)


@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 5), st.integers(0, 3))
def test_every_pool_window_begins_inside_image_or_padding(size, kernel, stride, pad):
    if pad >= kernel or size + 2 * pad < kernel:
        return
    options = PoolingOptions(kernel=(kernel, kernel), stride=(stride, stride), pad=(pad, pad))
    (top,) = options.shapes([(1, 1, size, size)], 1)
    last = (top[2] - 1) * stride - pad
    assert last < size if pad else last < size + stride
    assert last + kernel + stride > size


@pytest.mark.parametrize("fields", ["pad_h: 1", "pad_w: 1", "stride_h: 2", "stride_w: 2"])
def test_one_side_of_pad_or_stride_is_refused_as_in_caffe(fields):
    name = fields[:-5]
    with pytest.raises(ValueError, match=rf"layer 'p' \(Pooling\): {name}_h and {name}_w must be given together"):
        parse_net(
            'input: "x" input_shape { dim: 1 dim: 1 dim: 9 dim: 9 } layer { name: "p" type: "Pooling" bottom: "x" '
            f'top: "y" pooling_param {{ kernel_size: 3 {fields} }} }}'
        )


def test_stochastic_pooling_is_never_padded():
    with pytest.raises(ValueError, match=r"pad is \(1, 1\); Caffe pads for MAX and AVE only"):
        PoolingOptions("STOCHASTIC", (3, 3), pad=(1, 1))
