"""pyramid_conv2d, whose plan the CUDA kernel and the CPU's loops share, against its branches one by one."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from deeplab_repro.ops import pyramid
from deeplab_repro.ops.atrous import aspp

op = torch.ops.deeplab.pyramid_conv2d.default


def one_by_one(inputs, weights, biases, rates, summed, relu=False):
    inputs = list(inputs) * (len(weights) if len(inputs) == 1 else 1)
    outputs = [
        F.conv2d(x, weight, None, 1, rate * (weight.shape[2] // 2), rate)
        for x, weight, rate in zip(inputs, weights, rates, strict=True)
    ]
    outputs = [sum(outputs)] if summed else outputs
    if biases:
        outputs = [y + bias.view(-1, 1, 1) for y, bias in zip(outputs, biases, strict=True)]
    return [y.relu() if relu else y for y in outputs]


@given(data=st.data())
@settings(max_examples=120, deadline=None, derandomize=True)
def test_agrees_with_its_branches_on_random_geometry(data):
    draw = data.draw
    rates = draw(st.lists(st.integers(1, 13), min_size=1, max_size=4))
    kernel, summed, relu = draw(st.sampled_from([1, 3, 5])), draw(st.booleans()), draw(st.booleans())
    channels, filters = draw(st.integers(1, 5)), draw(st.sampled_from([1, 3, 130]))
    size = draw(st.integers(0, 3)), channels, draw(st.integers(1, 20)), draw(st.integers(1, 20))
    inputs = [torch.randn(size).double() for _ in range(draw(st.sampled_from([1, len(rates)])))]
    weights = [torch.randn(filters, channels, kernel, kernel).double() for _ in rates]
    outputs = 1 if summed else len(rates)
    biases = [torch.randn(filters).double() for _ in range(draw(st.sampled_from([0, outputs])))]
    expected = one_by_one(inputs, weights, biases, rates, summed, relu)
    result = pyramid.pyramid_conv2d(inputs, weights, biases, rates, summed, relu)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("summed", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_gradients(summed, shared):
    rates = [1, 3]
    inputs = [torch.randn(1, 3, 5, 4, dtype=torch.float64, requires_grad=True) for _ in range(1 if shared else 2)]
    weights = [torch.randn(2, 3, 3, 3, dtype=torch.float64, requires_grad=True) for _ in rates]
    biases = [torch.randn(2, dtype=torch.float64, requires_grad=True) for _ in range(1 if summed else 2)]

    def call(*tensors):
        xs, rest = tensors[: len(inputs)], tensors[len(inputs) :]
        return pyramid.pyramid_conv2d(xs, rest[:2], rest[2:], rates, summed)

    leaves = (*inputs, *weights, *biases)
    for check in (torch.autograd.gradcheck, torch.autograd.gradgradcheck):
        assert check(call, leaves, fast_mode=True)
    torch.library.opcheck(op, (inputs, weights, biases, rates, summed, False))


def test_relu_has_no_gradient():
    x, weight = torch.ones(1, 1, 3, 3, requires_grad=True), torch.ones(1, 1, 3, 3)
    with pytest.raises(RuntimeError, match="no gradient is implemented with relu"):
        pyramid.pyramid_conv2d([x], [weight], [], [1], relu=True)[0].sum().backward()


def test_aspp_without_the_kernel_goes_branch_by_branch():
    rates = (2, 4)
    weights = [torch.randn(40, 6, 3, 3, dtype=torch.float64) for _ in rates]
    x = torch.randn(1, 6, 9, 10, dtype=torch.float64)
    for summed in (True, False):
        fused = aspp(x, weights, [None, None], rates, summed, method="fused")
        torch.testing.assert_close(fused, aspp(x, weights, [None, None], rates, summed))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": []}, "needs at least one weight"),
        ({"inputs": [torch.ones(1, 2, 3, 3)] * 3}, r"inputs must be one or one per weight \(2\), got 3"),
        ({"rates": [1]}, r"rates must be one per weight \(2\), got 1"),
        ({"rates": [1, 0]}, "rates must be positive, got 0"),
        ({"biases": [torch.ones(4)] * 2}, r"biases must be none or one per output \(1\), got 2"),
        ({"biases": [torch.ones(3)]}, r"biases must have one value per filter \(4\), got \[3\]"),
        ({"weights": [torch.ones(4, 2, 2, 2)] * 2}, r"weights must be \[F, C, k, k\] with odd k, got \[4, 2, 2, 2\]"),
        ({"weights": [torch.ones(4, 3, 3, 3)] * 2}, r"weights must have the input's channels \(2\), got"),
        ({"weights": [torch.ones(4, 2, 3, 3), torch.ones(4, 2, 1, 1)]}, "weights must have equal sizes"),
        ({"weights": [torch.ones(4, 2, 3, 3).double()] * 2}, r"weights must have the dtype of inputs \(Float\)"),
        ({"inputs": [torch.ones(1, 2, 30, 30)], "weights": [torch.ones(4, 2, 19, 19)] * 2}, "at most 4 branches of"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    arguments = {
        "inputs": [torch.ones(1, 2, 3, 3)], "weights": [torch.ones(4, 2, 3, 3)] * 2, "biases": [], "rates": [1, 2],
    } | change  # fmt: skip
    with pytest.raises(RuntimeError, match=f"pyramid_conv2d: .*{message}"):
        pyramid.pyramid_conv2d(**arguments)
