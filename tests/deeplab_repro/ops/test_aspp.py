"""Parallel atrous convolutions of one input, and the shifted sums they may be made of."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from deeplab_repro import ops
from deeplab_repro.ops.aspp import aspp


def branches(filters: int, rates: tuple[int, ...], sides: tuple[int, ...] | None = None, dtype=torch.float64):
    sides = sides or (3,) * len(rates)
    weights = [torch.randn(filters, 6, side, side, dtype=dtype, requires_grad=True) for side in sides]
    biases = [torch.randn(filters, dtype=dtype, requires_grad=True) for _ in rates]
    return weights, biases


def one_by_one(x, weights, biases, rates):
    return [
        F.conv2d(x, weight, bias, 1, rate * (weight.shape[2] // 2), rate)
        for weight, bias, rate in zip(weights, biases, rates, strict=True)
    ]


@given(data=st.data())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_aspp_agrees_with_its_branches_on_random_geometry(data):
    draw = data.draw
    rates = tuple(draw(st.lists(st.integers(1, 13), min_size=1, max_size=4)))
    sides = tuple(draw(st.sampled_from([1, 3, 5])) for _ in rates)
    weights, biases = branches(draw(st.sampled_from([1, 21, 40])), rates, sides)
    biases = [bias if draw(st.booleans()) else None for bias in biases]
    x = torch.randn(draw(st.integers(1, 2)), 6, draw(st.integers(1, 20)), draw(st.integers(1, 20)), dtype=torch.float64)
    if draw(st.booleans()):
        x = x.contiguous(memory_format=torch.channels_last)
    x.requires_grad_()
    expected = sum(one_by_one(x, weights, biases, rates))
    result = aspp(x, weights, biases, rates)
    torch.testing.assert_close(result, expected)
    leaves = [x, *weights, *(bias for bias in biases if bias is not None)]
    grad = torch.randn_like(expected)
    ours, theirs = torch.autograd.grad(result, leaves, grad), torch.autograd.grad(expected, leaves, grad)
    torch.testing.assert_close(ours, theirs)


def test_separate_branches_are_a_list():
    rates = (2, 4)
    weights, biases = branches(5, rates)
    x = torch.randn(1, 6, 9, 10, dtype=torch.float64)
    torch.testing.assert_close(aspp(x, weights, biases, rates, summed=False), one_by_one(x, weights, biases, rates))


@pytest.mark.parametrize("filters", [3, 40])
def test_gradcheck(filters):
    rates = (1, 3)
    weights, biases = branches(filters, rates)
    x = torch.randn(1, 6, 5, 4, dtype=torch.float64, requires_grad=True)
    for check in (torch.autograd.gradcheck, torch.autograd.gradgradcheck):
        assert check(lambda x, *w: aspp(x, w, biases, rates, method="direct"), (x, *weights), fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_reduced_types_are_rounded_once(dtype):
    rates = (2, 3)
    given_weights, given_biases = branches(4, rates)
    weights, biases = ([t.detach().to(dtype) for t in given] for given in (given_weights, given_biases))
    x = torch.randn(1, 6, 9, 9).to(dtype)
    expected = sum(one_by_one(x.double(), [w.double() for w in weights], [b.double() for b in biases], rates))
    result = aspp(x, weights, biases, rates)
    assert result.dtype == dtype
    torch.testing.assert_close(result.double(), expected, rtol=torch.finfo(dtype).eps, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_opcheck(device, dtype):
    offsets = [0, -2, 1, 9], [0, 3, -1, 0]
    values = torch.randn(2, 5, 4, 4, 3, device=device, dtype=dtype, requires_grad=True)
    torch.library.opcheck(torch.ops.deeplab.shift_add.default, (values, *offsets))
    maps = torch.randn(2, 3, 5, 4, device=device, dtype=dtype, requires_grad=True)
    torch.library.opcheck(torch.ops.deeplab.shift_gather.default, (maps, *offsets))


def test_our_kernel_and_torch_s_ops_agree():
    offsets = [(0, 0), (-2, 3), (1, -1), (9, 0), (0, -9)]
    values = torch.randint(-8, 8, (2, 5, 4, 5, 3)).float()
    torch.testing.assert_close(ops.shift_add(values, offsets), ops.shift_add(values.bfloat16(), offsets).float())
    maps = torch.randint(-8, 8, (2, 3, 5, 4)).float()
    gather = torch.ops.deeplab.shift_gather
    pairs = [dy for dy, _ in offsets], [dx for _, dx in offsets]
    torch.testing.assert_close(gather(maps, *pairs), gather(maps.bfloat16(), *pairs).float())


def test_compiles():
    torch._dynamo.reset()
    rates = (2, 4)
    weights, biases = branches(4, rates)
    x = torch.randn(1, 6, 9, 10, dtype=torch.float64)
    compiled = torch.compile(aspp, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, weights, biases, rates), aspp(x, weights, biases, rates))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rates": (1,)}, "a rate per branch, got 2, 2, 1"),
        ({"rates": (1, 0)}, r"odd k, rates positive, got \[4, 6, 3, 3\], 0"),
        ({"weights": branches(4, (1,), (2,))[0] * 2}, r"odd k, rates positive, got \[4, 6, 2, 2\], 1"),
        ({"weights": [*branches(4, (1,))[0], *branches(5, (1,))[0]]}, r"need equal filters, got \[4, 5\]"),
    ],
)
def test_wrong_branches_are_named(change, message):
    weights, biases = branches(4, (1, 2))
    arguments = {"weights": weights, "biases": biases, "rates": (1, 2)} | change
    with pytest.raises(ValueError, match=message):
        aspp(torch.randn(1, 6, 5, 5, dtype=torch.float64), **arguments)


def test_offsets_must_match_the_taps():
    with pytest.raises(RuntimeError, match=r"shift_add: values must have one row per offset \(1\)"):
        ops.shift_add(torch.ones(1, 2, 2, 2, 1), [(0, 0)])
