"""Shapes of tops and blobs, type by type, and the table itself."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prototxt_import import layer, make_net, net_text, parse_net
from prototxt_import.layers import Options, base, layer_types, register
from prototxt_import.layers.pool import PoolingOptions


def tops(type_name, *bottoms, count=1, **options):
    inputs = {f"in{i}": shape for i, shape in enumerate(bottoms)}
    names = [f"out{i}" for i in range(count)]
    spec = make_net("n", inputs, [layer(type_name, "l", list(inputs), names, **options)])
    shapes = [spec.blobs[name] for name in names]
    return shapes[0] if count == 1 else tuple(shapes)


def blobs(type_name, *bottoms, **options):
    inputs = {f"in{i}": shape for i, shape in enumerate(bottoms)}
    return make_net("n", inputs, [layer(type_name, "l", list(inputs), "out", **options)]).param_shapes["l"]


@pytest.mark.parametrize(
    ("size", "pooled"), [(306, (154, 78, 40)), (321, (161, 81, 41)), (513, (257, 129, 65)), (65, (33, 17, 9))]
)
def test_pool_chain_of_the_published_nets(size, pooled):
    shape = (1, 1, size, size)
    for expected in pooled:
        shape = tops("Pooling", shape, kernel=3, stride=2, pad=1)
        assert shape[2:] == (expected, expected)


def test_pool_drops_last_window_past_the_padded_image_only():
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
def test_interp_sizes(options, expected):
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


def test_padding_adds_or_crops_both_axes():
    assert tops("Padding", (1, 2, 529, 529), pad_beg=-7, pad_end=-8) == (1, 2, 514, 514)
    assert tops("Padding", (1, 2, 5, 6), pad_beg=1, pad_end=2) == (1, 2, 8, 9)
    with pytest.raises(ValueError, match="must not differ in sign"):
        tops("Padding", (1, 2, 5, 6), pad_beg=-1, pad_end=2)


@pytest.mark.parametrize(
    ("type_name", "bottoms", "options", "expected"),
    [
        ("Convolution", [(2, 4, 9, 7)], {"num_output": 6, "kernel": 3, "dilation": 2, "stride": 2}, (2, 6, 3, 2)),
        ("Deconvolution", [(2, 4, 5, 5)], {"num_output": 4, "kernel": 4, "stride": 2, "pad": 1}, (2, 4, 10, 10)),
        ("InnerProduct", [(2, 3, 4, 5)], {"num_output": 7}, (2, 7)),
        ("InnerProduct", [(2, 3, 4, 5)], {"num_output": 7, "axis": 2}, (2, 3, 7)),
        ("Concat", [(2, 3, 4), (2, 5, 4)], {}, (2, 8, 4)),
        ("Concat", [(2, 3, 4), (1, 3, 4)], {"axis": -3}, (3, 3, 4)),
        ("Flatten", [(2, 3, 4, 5)], {}, (2, 60)),
        ("Flatten", [(2, 3, 4, 5)], {"axis": 0, "end_axis": -2}, (24, 5)),
        ("Reshape", [(2, 8)], {"dims": (0, -1, 4)}, (2, 2, 4)),
        ("Reshape", [(2, 8)], {"dims": (1,), "axis": 1, "num_axes": 0}, (2, 1, 8)),
        ("Reshape", [(2, 8)], {"dims": (2, 4), "axis": -1, "num_axes": 0}, None),
        ("Crop", [(1, 2, 9, 9), (1, 5, 4, 5)], {"offset": (2, 3)}, (1, 2, 4, 5)),
        ("ArgMax", [(2, 5, 3, 4)], {"per_pixel": True, "top_k": 2, "out_max_val": True}, (2, 4, 3, 4)),
        ("ArgMax", [(2, 5, 3, 4)], {"axis": 1, "top_k": 2}, (2, 2, 3, 4)),
        ("ArgMax", [(2, 5, 3, 4)], {"out_max_val": True, "top_k": 3}, (2, 2, 3)),
        ("Tile", [(2, 3)], {"tiles": 4}, (2, 12)),
        ("Reduction", [(2, 3, 4)], {"axis": 1}, (2,)),
        ("SPP", [(2, 3, 9, 9)], {"pyramid_height": 3}, (2, 63)),
        ("SegAccuracy", [(2, 5, 4, 4), (2, 1, 4, 4)], {}, (1, 1, 1, 3)),
        ("SoftmaxWithLoss", [(2, 5, 4, 4), (2, 1, 4, 4)], {}, ()),
        ("DenseCRF", [(1, 5, 4, 4), (1, 1, 1, 2), (1, 3, 4, 4)], {}, (1, 5, 4, 4)),
    ],
)
def test_tops(type_name, bottoms, options, expected):
    if expected is None:
        with pytest.raises(ValueError, match="does not reshape"):
            tops(type_name, *bottoms, **options)
    else:
        assert tops(type_name, *bottoms, **options) == expected


def test_slice_cuts_at_points_or_into_equal_parts():
    assert tops("Slice", (2, 6), count=3) == ((2, 2), (2, 2), (2, 2))
    assert tops("Slice", (2, 6), count=2, slice_points=(1,)) == ((2, 1), (2, 5))
    with pytest.raises(ValueError, match="equal parts"):
        tops("Slice", (2, 5), count=2)
    with pytest.raises(ValueError, match="must rise"):
        tops("Slice", (2, 6), count=3, slice_points=(4, 2))


@pytest.mark.parametrize(
    ("type_name", "bottoms", "options", "expected"),
    [
        ("Convolution", [(1, 4, 9, 9)], {"num_output": 6, "kernel": (3, 2), "group": 2}, ((6, 2, 3, 2), (6,))),
        ("Convolution", [(1, 4, 9, 9)], {"num_output": 6, "kernel": 1, "bias_term": False}, ((6, 4, 1, 1),)),
        ("Deconvolution", [(1, 4, 9, 9)], {"num_output": 6, "kernel": 2, "group": 2}, ((4, 3, 2, 2), (6,))),
        ("InnerProduct", [(1, 2, 3, 4)], {"num_output": 5}, ((5, 24), (5,))),
        ("InnerProduct", [(1, 2, 3, 4)], {"num_output": 5, "transpose": True}, ((24, 5), (5,))),
        ("BatchNorm", [(1, 2, 3, 4)], {}, ((2,), (2,), (1,))),
        ("Scale", [(1, 2, 3, 4)], {"bias_term": True}, ((2,), (2,))),
        ("Scale", [(1, 2, 3, 4)], {"axis": 2, "num_axes": -1}, ((3, 4),)),
        ("Scale", [(1, 2, 3, 4), (2, 3)], {"bias_term": True}, ((2, 3),)),
        ("PReLU", [(1, 2, 3, 4)], {}, ((2,),)),
        ("PReLU", [(1, 2, 3, 4)], {"channel_shared": True}, ((1,),)),
        ("Embed", [(3,)], {"num_output": 4, "input_dim": 9}, ((9, 4), (4,))),
    ],
)
def test_learnable_blobs(type_name, bottoms, options, expected):
    assert blobs(type_name, *bottoms, **options) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("kernel_size: 3", ((3, 3), (1, 1), (0, 0))),
        ("kernel_size: 3 kernel_size: 2", ((3, 2), (1, 1), (0, 0))),
        ("kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 1 pad_h: 1", ((3, 2), (2, 1), (1, 0))),
    ],
)
def test_window_fields_resolve_to_height_and_width(fields, expected):
    text = 'input: "x" input_shape { dim: 1 dim: 1 dim: 9 dim: 9 } layer { name: "c" type: "Convolution" '
    text += f'bottom: "x" top: "c" convolution_param {{ num_output: 1 {fields} }} }}'
    options = parse_net(text).layers[0].options
    assert (options.kernel, options.stride, options.pad) == expected


@pytest.mark.parametrize(
    "fields", ["kernel_size: 3 kernel_h: 3 kernel_w: 3", "kernel_h: 3", "", "kernel_size: [3, 3, 3]"]
)
def test_ambiguous_windows_are_refused(fields):
    text = 'input: "x" input_shape { dim: 1 dim: 1 dim: 9 dim: 9 } layer { name: "c" type: "Convolution" '
    with pytest.raises(ValueError, match=r"layer 'c' \(Convolution\): .*kernel"):
        parse_net(text + f'bottom: "x" top: "c" convolution_param {{ num_output: 1 {fields} }} }}')


def test_permute_keeps_the_axes_that_order_leaves_out():
    assert tops("Permute", (2, 3, 4, 5), order=(0, 2, 3, 1)) == (2, 4, 5, 3)
    assert tops("Permute", (2, 3, 4, 5), order=(3,)) == (5, 2, 3, 4)
    for order, word in (((1, 1), "names an axis twice"), ((4,), "lacks")):
        with pytest.raises(ValueError, match=word):
            tops("Permute", (2, 3, 4, 5), order=order)


def test_background_of_bias_channel_is_what_the_file_declares():
    text = (
        'input: "x" input_shape { dim: 1 dim: 3 dim: 4 dim: 4 } input: "l" input_shape { dim: 1 dim: 1 dim: 4 dim: 4 }'
    )
    for fields, expected in (("", None), ("bg_bias: 1", 0), ("background_label: 2", 2)):
        spec = parse_net(
            f'{text} layer {{ name: "b" type: "BiasChannel" bottom: "x" bottom: "l" top: "y" '
            f"bias_channel_param {{ label_type: PIXEL {fields} }} }}"
        )
        assert spec.layers[0].options.background_label == expected
        assert parse_net(net_text(spec)) == spec


def test_v1_rules_follow_the_dialect():
    text = 'input: "x" input_dim: 1 input_dim: 4 input_dim: 5 input_dim: 5\n'
    text += 'layers { name: "a" type: ARGMAX bottom: "x" top: "y" }'
    assert parse_net(text).layers[0].options.per_pixel
    assert not parse_net(text, dialect="bvlc").layers[0].options.per_pixel


def test_numbers_are_the_shortest_with_the_same_single_precision():
    text = 'layer { name: "d" type: "DummyData" top: "x" dummy_data_param { shape { dim: 1 } } }'
    text += 'layer { name: "p" type: "Power" bottom: "x" top: "y" '
    text += "power_param { scale: 0.1 shift: 1e-5 power: 0.333333343 } }"
    assert parse_net(text).layers[1].options == layer("Power", "p", scale=0.1, shift=1e-5, power=0.33333334).options


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_shortened_numbers_keep_their_single_precision_bits(value):
    import numpy as np

    assert np.float32(base.single(value)) == np.float32(value)


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
        del base._types["Twice"]


def test_no_two_types_share_an_old_name():
    rows = layer_types()
    old = [row.v1 for row in rows if row.v1] + [name for row in rows for name in row.v0]
    assert len(old) == len(set(old))
