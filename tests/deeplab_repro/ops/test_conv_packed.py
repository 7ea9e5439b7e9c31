"""Packed weights: the ops and the choice of a method."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from deeplab_repro import ops
from deeplab_repro.ops import _C

methods = pytest.mark.parametrize("method", ops.PACKED_METHODS)


@given(data=st.data())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_packed_agrees_with_float64_on_random_geometry(data):
    draw = data.draw
    method = draw(st.sampled_from(ops.PACKED_METHODS))
    groups, relu, last = draw(st.integers(1, 3)), draw(st.booleans()), draw(st.booleans())
    channels, filters = draw(st.sampled_from([1, 5, 17])), draw(st.sampled_from([1, 6, 65]))
    kernel = (3, 3) if method != "direct" else (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    stride = (1, 1) if method != "direct" else (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    dilation, padding = ((draw(st.integers(low, 9)), draw(st.integers(low, 9))) for low in (1, 0))
    size = [
        max(1, d * (k - 1) + 1 - 2 * p) + draw(st.integers(0, 20))
        for k, d, p in zip(kernel, dilation, padding, strict=True)
    ]
    x = torch.randn(draw(st.integers(1, 2)), groups * channels, *size, dtype=torch.float64)
    weight = torch.randn(groups * filters, channels, *kernel, dtype=torch.float64)
    bias = torch.randn(groups * filters, dtype=torch.float64) if draw(st.booleans()) else None
    expected = F.conv2d(x, weight, bias, stride, padding, dilation, groups)
    expected = expected.relu() if relu else expected
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    packed = ops.pack_weight(weight, groups, method)
    result = ops.atrous_conv2d_packed(
        x, weight, packed, bias, stride, padding, dilation, groups, method=method, relu=relu
    )
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-12 * expected.abs().max().item())


@methods
@pytest.mark.parametrize("relu", [False, True])
def test_opcheck_packed(method, relu):
    x = torch.randn(2, 20, 13, 11).contiguous(memory_format=torch.channels_last)
    weight, bias = torch.randn(70, 20, 3, 3), torch.randn(70)
    packed = ops.pack_weight(weight, 1, method)
    torch.library.opcheck(torch.ops.deeplab.atrous_conv2d_pack.default, (weight, 1, method))
    window = [1, 1], [4, 4], [4, 4], 1
    torch.library.opcheck(
        torch.ops.deeplab.atrous_conv2d_packed.default, (x, weight, packed, bias, *window, method, relu)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "im2col"}, "method must be one of 'direct', 'winograd2', 'winograd4', got 'im2col'"),
        ({"method": "winograd2"}, "packed must have 1600 elements with method 'winograd2', got 900"),
        ({"method": "winograd4", "stride": 2}, r"method 'winograd4' takes stride 1, got \[2, 2\]"),
        ({"packed": torch.ones(30, 30)}, r"packed must be \[elements\], got \[30, 30\]"),
        ({"packed": torch.ones(900).double()}, "packed must be Float for an input of Float, got Double"),
        ({"weight": torch.ones(10, 11, 3, 3)}, r"weight's channels times groups \(11 \* 1\), got 10"),
    ],
)
def test_wrong_packed_arguments_are_named(change, message):
    arguments = {"x": torch.ones(1, 10, 7, 7), "weight": torch.ones(10, 10, 3, 3), "packed": torch.ones(900)} | change
    with pytest.raises(RuntimeError, match=f"atrous_conv2d_packed: .*{message}"):
        ops.atrous_conv2d_packed(**arguments)


@pytest.mark.parametrize(
    ("weight", "groups", "method", "message"),
    [
        (torch.ones(4, 5, 1, 1), 1, "winograd2", r"method 'winograd2' takes 3x3 kernels, got \[4, 5, 1, 1\]"),
        (torch.ones(4, 5, 3), 1, "direct", r"weight must be \[F, C / groups, kernel_h, kernel_w\]"),
        (torch.ones(4, 5, 3, 3), 3, "direct", r"groups must divide the number of filters \(4\), got 3"),
        (torch.ones(4, 5, 3, 3).int(), 1, "direct", "weight must be floating point, got Int"),
    ],
)
def test_wrong_weights_are_not_packed(weight, groups, method, message):
    with pytest.raises(RuntimeError, match=f"atrous_conv2d_pack: {message}"):
        ops.pack_weight(weight, groups, method)


def plan(channels, filters, kernel, rate, size, method, groups=1, **options):
    x = torch.empty(1, channels, size, size).to(memory_format=torch.channels_last)
    weight = torch.empty(filters, channels // groups, kernel, kernel)
    padding = rate * (kernel - 1) // 2
    return ops.plan(x, weight, 1, padding, rate, groups, method=method, **options)


@pytest.mark.parametrize(
    ("shape", "auto", "fast"),
    [
        ((512, 1024, 3, 6, 41), "winograd2", "winograd4"),
        ((512, 1024, 3, 12, 41), "direct", "winograd4"),
        ((512, 1024, 3, 24, 41), "direct", "direct"),
        ((512, 512, 3, 2, 41), "winograd2", "winograd4"),
        ((512, 1024, 4, 4, 41), "direct", "direct"),
        ((3, 64, 3, 1, 321), "library", "library"),
    ],
)
def test_the_cost_model_chooses_as_measured(shape, auto, fast):
    assert plan(*shape, method="auto", packed=True) == auto
    assert plan(*shape, method="fast", packed=True) == fast


def test_what_a_method_cannot_do_is_the_library_s():
    assert plan(8, 8, 5, 2, 20, "winograd") == "library"
    assert plan(8, 8, 3, 2, 20, "winograd4") == "winograd4"
    assert plan(64, 64, 3, 1, 40, "auto", groups=64) == "library"
    x, weight = torch.empty(1, 8, 9, 9), torch.empty(8, 8, 3, 3)
    assert ops.plan(x, weight, 2, 1, 1, method="winograd") == "library"
    assert ops.plan(x, weight, 2, 1, 1, method="interlace") == "library"
    assert ops.plan(x.bfloat16(), weight.bfloat16(), method="direct") == "direct"
    by_the_library = _C.has_bfloat16()
    large = torch.empty(1, 512, 41, 41).bfloat16().to(memory_format=torch.channels_last)
    way = ops.plan(large, torch.empty(1024, 512, 3, 3).bfloat16(), 1, 24, 24, packed=True)
    assert way == ("library" if by_the_library else "direct")
