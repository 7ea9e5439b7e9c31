"""The ways of CUDA, products by torch's matrix multiplication, followed on the CPU against float64."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from deeplab_repro import ops
from deeplab_repro.bench.rounding import convolution_products, convolution_tolerance

batched = torch.ops.deeplab.atrous_conv2d_batched
batched_backward = torch.ops.deeplab.atrous_conv2d_batched_backward
methods = pytest.mark.parametrize("method", ops.PACKED_METHODS)


def assert_close(result: torch.Tensor, expected: torch.Tensor, products: int, method: str) -> None:
    assert result.shape == expected.shape
    if expected.numel():
        # Sums of products of standard normal numbers are of that size, where none of a few should be.
        size = expected.abs().max().clamp(min=max(products, 1) ** 0.5)
        error = (result.double() - expected.double()).abs().max() / size
        assert error <= convolution_tolerance(result.dtype, products, method)


@given(data=st.data())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_agrees_with_float64_on_random_geometry(data):
    draw = data.draw
    method = draw(st.sampled_from(ops.PACKED_METHODS))
    dtype = draw(st.sampled_from([torch.float64, torch.float32]))
    groups, relu, last = draw(st.integers(1, 3)), draw(st.booleans()), draw(st.booleans())
    channels, filters = draw(st.sampled_from([1, 3, 4, 8])), draw(st.sampled_from([1, 2, 5, 16]))
    free = method == "direct"
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4))) if free else (3, 3)
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3))) if free else (1, 1)
    dilation, padding = ((draw(st.integers(low, 13)), draw(st.integers(low, 14))) for low in (1, 0))
    size = [
        max(1, d * (k - 1) + 1 - 2 * p) + draw(st.integers(0, 15))
        for k, d, p in zip(kernel, dilation, padding, strict=True)
    ]
    x = torch.randn(draw(st.integers(0, 3)), groups * channels, *size, dtype=dtype)
    weight = torch.randn(groups * filters, channels, *kernel, dtype=dtype)
    bias = torch.randn(groups * filters, dtype=dtype) if draw(st.booleans()) else None
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    exact = [None if t is None else t.detach().clone().double().requires_grad_() for t in (x, weight, bias)]
    expected = F.conv2d(*exact, stride, padding, dilation, groups)
    window = stride, padding, dilation, groups, method
    of_output, *of_gradients = convolution_products(tuple(weight.shape), tuple(expected.shape), groups)
    wanted = (expected.relu() if relu else expected).detach()
    assert_close(batched(x, weight, bias, *window, relu), wanted, of_output, method)
    grad = torch.randn_like(expected)
    leaves = [leaf for leaf in exact if leaf is not None]
    theirs = torch.autograd.grad(expected, leaves, grad)
    ours = batched_backward(grad.to(dtype), x, weight, *window, [True, True, bias is not None])
    for mine, gradient, products in zip(ours, theirs, (*of_gradients, of_gradients[-1]), strict=False):
        assert_close(mine, gradient, products, method)


@methods
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_reduced_types_are_summed_in_float32(method, dtype):
    x, weight = torch.randn(2, 64, 13, 11).to(dtype), torch.randn(24, 64, 3, 3).to(dtype)
    bias = torch.randn(24).to(dtype)
    expected = F.conv2d(x.double(), weight.double(), bias.double(), 1, 5, 5)
    window = [1, 1], [5, 5], [5, 5], 1, method
    result = batched(x, weight, bias, *window, False)
    assert result.dtype == dtype
    assert_close(result, expected, 64 * 9, method)
    grads = batched_backward(torch.randn_like(result), x, weight, *window, [True, True, True])
    assert [grad.dtype for grad in grads] == [dtype] * 3


@methods
def test_parts_of_the_scratch_memory_make_no_difference(method):
    # 34 MB of samples and products: more than the scratch memory, so that rows and tiles come in parts.
    x, weight = torch.randn(3, 96, 61, 59, dtype=torch.float64), torch.randn(8, 96, 3, 3, dtype=torch.float64)
    expected = F.conv2d(x, weight, None, 1, 2, 2)
    assert_close(batched(x, weight, None, [1, 1], [2, 2], [2, 2], 1, method, False), expected, 96 * 9, method)


@methods
def test_odd_addresses_are_read(method):
    memory = torch.randn(1 + 2 * 8 * 9 * 7)
    x = memory[1:].view(2, 9, 7, 8).permute(0, 3, 1, 2)
    weight = torch.randn(6, 8, 3, 3)
    result = batched(x, weight, None, [1, 1], [3, 3], [3, 3], 1, method, False)
    assert_close(result, F.conv2d(x.double(), weight.double(), None, 1, 3, 3), 8 * 9, method)


@methods
def test_nan_passes_through_relu(method):
    x, weight = torch.ones(1, 4, 5, 5), torch.ones(3, 4, 3, 3)
    bias = torch.full((3,), float("nan"))
    assert batched(x, weight, bias, [1, 1], [1, 1], [1, 1], 1, method, True).isnan().all()


def test_other_methods_are_refused():
    with pytest.raises(RuntimeError, match="method must be one of 'direct', 'winograd2', 'winograd4', got 'auto'"):
        batched(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 3, 3), None, [1, 1], [0, 0], [1, 1], 1, "auto", False)
