from __future__ import annotations

import itertools

import pytest
import torch
from torch.autograd import gradcheck


def test_eltwise_max_ties_go_to_bottom_one_then_to_the_first(run):
    def grads(*values):
        bottoms = [torch.tensor([[v]], requires_grad=True) for v in values]
        run("Eltwise", *bottoms, operation="MAX").sum().backward()
        return [float(x.grad) for x in bottoms]

    assert grads(1.0, 1.0) == [0, 1]
    assert grads(2.0, 1.0, 2.0) == [1, 0, 0]
    assert grads(1.0, 1.0, 1.0) == [0, 1, 0]
    assert grads(0.0, 1.0, 3.0, 3.0) == [0, 0, 1, 0]


def test_eltwise_values_and_gradients(run, rng):
    a, b, c = (torch.randn(2, 3, generator=rng, dtype=torch.float64, requires_grad=True) for _ in range(3))
    torch.testing.assert_close(run("Eltwise", a, b, c, operation="SUM", coeffs=(0.5, -1.0, 2.0)), 0.5 * a - b + 2 * c)
    torch.testing.assert_close(run("Eltwise", a, b, c, operation="MAX"), torch.maximum(torch.maximum(a, b), c))
    for stable in (True, False):
        torch.testing.assert_close(run("Eltwise", a, b, c, operation="PROD", stable_prod_grad=stable), a * b * c)
        assert gradcheck(lambda *t, s=stable: run("Eltwise", *t, operation="PROD", stable_prod_grad=s), (a, b, c))


def test_unstable_product_gradient_at_zero_is_nan(run):
    a, b = torch.zeros(1, 1, requires_grad=True), torch.ones(1, 1, requires_grad=True)
    run("Eltwise", a, b, operation="PROD", stable_prod_grad=False).sum().backward()
    assert a.grad.isnan().all()
    assert float(b.grad) == 0


def test_concat_slice_split_flatten_reshape(run, rng):
    x = torch.randn(4, 6, 2, 3, generator=rng)
    assert torch.equal(run("Concat", x, x, axis=0), torch.cat([x, x]))
    first, second, third = run("Slice", x, tops=3, axis=1, slice_points=(1, 3))
    assert torch.equal(torch.cat([first, second, third], 1), x)
    assert (first.shape[1], second.shape[1], third.shape[1]) == (1, 2, 3)
    assert [part.shape[0] for part in run("Slice", x, tops=2, axis=0)] == [2, 2]
    assert all(torch.equal(part, x) for part in run("Split", x, tops=3))
    assert run("Flatten", x).shape == (4, 36)
    assert run("Flatten", x, axis=2, end_axis=3).shape == (4, 6, 6)
    assert run("Reshape", x, dims=(0, -1, 3)).shape == (4, 12, 3)
    assert run("Silence", x, tops=0) == ()


def test_permute_moves_the_named_axes_in_front_and_is_laid_out_anew(run, rng):
    x = torch.randn(2, 3, 4, 5, generator=rng, dtype=torch.float64, requires_grad=True)
    top = run("Permute", x, order=(0, 2, 3, 1))
    assert torch.equal(top, x.permute(0, 2, 3, 1))
    assert top.is_contiguous()
    assert torch.equal(run("Permute", x, order=(2,)), x.permute(2, 0, 1, 3))
    assert gradcheck(lambda t: run("Permute", t, order=(3, 1)), (x,))


def test_spatial_product_against_a_plain_loop(run, rng):
    x = torch.randn(2, 3, 4, 5, generator=rng, dtype=torch.float64, requires_grad=True)
    factor = torch.randn(2, 1, 4, 5, generator=rng, dtype=torch.float64, requires_grad=True)
    top_gradient = torch.randn(2, 3, 4, 5, generator=rng, dtype=torch.float64)
    top = run("SpatialProduct", x, factor)
    top.backward(top_gradient)
    want, to_x, to_factor = torch.zeros_like(x), torch.zeros_like(x), torch.zeros_like(factor)
    for n, c, i, j in itertools.product(*map(range, x.shape)):
        want[n, c, i, j] = x[n, c, i, j] * factor[n, 0, i, j]
        to_x[n, c, i, j] = top_gradient[n, c, i, j] * factor[n, 0, i, j]
        to_factor[n, 0, i, j] += top_gradient[n, c, i, j] * x[n, c, i, j]
    torch.testing.assert_close(top.detach(), want, rtol=0, atol=0)
    torch.testing.assert_close(x.grad, to_x, rtol=0, atol=0)
    # Sums of three products in double precision, in another order.
    torch.testing.assert_close(factor.grad, to_factor, rtol=0, atol=1e-14)
    assert gradcheck(lambda *bottoms: run("SpatialProduct", *bottoms), (x, factor))


def test_spatial_product_takes_a_factor_of_one_channel_and_the_same_size(run):
    with pytest.raises(ValueError, match=r"second bottom must be \[2, 1, 4, 5\] .* got \[2, 3, 4, 5\]"):
        run("SpatialProduct", torch.zeros(2, 3, 4, 5), torch.zeros(2, 3, 4, 5))
    with pytest.raises(ValueError, match=r"second bottom must be \[2, 1, 4, 5\] .* got \[1, 1, 4, 5\]"):
        run("SpatialProduct", torch.zeros(2, 3, 4, 5), torch.zeros(1, 1, 4, 5))
