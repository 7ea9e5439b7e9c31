"""Convolution and its kin: windows, tops and learnable blobs."""

from __future__ import annotations

import math

import pytest

from prototxt_import import layer, parse_net


@pytest.mark.parametrize(
    ("type_name", "bottoms", "options", "expected"),
    [
        ("Convolution", [(2, 4, 9, 7)], {"num_output": 6, "kernel": 3, "dilation": 2, "stride": 2}, (2, 6, 3, 2)),
        ("Deconvolution", [(2, 4, 5, 5)], {"num_output": 4, "kernel": 4, "stride": 2, "pad": 1}, (2, 4, 10, 10)),
        ("Deconvolution", [(1, 4, 5, 5)], {"num_output": 4, "kernel": 3, "stride": 2, "dilation": 2}, (1, 4, 13, 13)),
        ("InnerProduct", [(2, 3, 4, 5)], {"num_output": 7}, (2, 7)),
        ("InnerProduct", [(2, 3, 4, 5)], {"num_output": 7, "axis": 2}, (2, 3, 7)),
    ],
)
def test_tops(tops, type_name, bottoms, options, expected):
    assert tops(type_name, *bottoms, **options) == expected


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


@pytest.mark.parametrize(
    ("type_name", "bottoms", "options", "expected"),
    [
        ("Convolution", [(1, 4, 9, 9)], {"num_output": 6, "kernel": (3, 2), "group": 2}, ((6, 2, 3, 2), (6,))),
        ("Convolution", [(1, 4, 9, 9)], {"num_output": 6, "kernel": 1, "bias_term": False}, ((6, 4, 1, 1),)),
        ("Deconvolution", [(1, 4, 9, 9)], {"num_output": 6, "kernel": 2, "group": 2}, ((4, 3, 2, 2), (6,))),
        ("InnerProduct", [(1, 2, 3, 4)], {"num_output": 5}, ((5, 24), (5,))),
        ("InnerProduct", [(1, 2, 3, 4)], {"num_output": 5, "transpose": True}, ((24, 5), (5,))),
        ("Embed", [(3,)], {"num_output": 4, "input_dim": 9}, ((9, 4), (4,))),
    ],
)
def test_learnable_blobs(blobs, type_name, bottoms, options, expected):
    assert blobs(type_name, *bottoms, **options) == expected


@pytest.mark.parametrize("kind", ["Convolution", "Deconvolution", "Im2col"])
def test_one_side_of_a_stride_is_refused_as_in_caffe(kind):
    text = f'input: "x" input_shape {{ dim: 1 dim: 1 dim: 9 dim: 9 }} layer {{ name: "c" type: "{kind}" '
    with pytest.raises(ValueError, match=rf"layer 'c' \({kind}\): stride_h and stride_w must be given together"):
        parse_net(text + 'bottom: "x" top: "c" convolution_param { num_output: 1 kernel_size: 3 stride_h: 2 } }')


@pytest.mark.parametrize(
    ("kind", "message", "bottom", "blobs"),
    [
        ("Convolution", "convolution_param { num_output: 6 kernel_h: 3 kernel_w: 2 group: 2 }", (1, 4, 9, 9), 2),
        ("Convolution", "convolution_param { num_output: 1 kernel_size: 1 bias_term: false }", (1, 4, 9, 9), 1),
        ("Deconvolution", "convolution_param { num_output: 6 kernel_size: 2 group: 2 }", (1, 4, 9, 9), 2),
        ("InnerProduct", "inner_product_param { num_output: 5 }", (1, 2, 3, 4), 2),
        ("InnerProduct", "inner_product_param { num_output: 5 transpose: true }", (1, 24), 2),
        ("BatchNorm", "", (1, 4, 9, 9), 3),
        ("Scale", "scale_param { bias_term: true }", (1, 4, 9, 9), 2),
        ("PReLU", "", (1, 4, 9, 9), 1),
        ("Normalize", "", (1, 4, 9, 9), 1),
        ("BN", "bn_param { frozen: true }", (1, 4, 9, 9), 4),
    ],
)
def test_the_sizes_of_blobs_tell_their_shapes(kind, message, bottom, blobs):
    dims = " ".join(f"dim: {side}" for side in bottom)
    text = f'input: "x" input_shape {{ {dims} }} layer {{ name: "c" type: "{kind}" bottom: "x" top: "y" {message} }}'
    net = parse_net(text)
    shapes = net.param_shapes["c"]
    assert len(shapes) == blobs
    assert net.layers[0].options.params_of([math.prod(shape) for shape in shapes], 1) == shapes


def test_sizes_that_no_bottom_makes_tell_nothing():
    options = layer("Convolution", "c", "x", "y", num_output=4, kernel=3).options
    assert options.params_of([4 * 9 * 3 + 1, 4], 1) is None
