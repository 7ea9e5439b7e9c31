"""Gradients of the mean field: the unrolled steps, and the operator, which runs them again in its backward."""

import pytest
import torch

from deeplab_repro import ops
from tests.deeplab_repro.ops.small_field import NORMALIZATIONS, compatibility, problem


@pytest.mark.parametrize("kind", ["potts", "diagonal", "matrix"])
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_gradients_of_the_operator(normalization: str, kind: str, device: str) -> None:
    unary, features, _ = problem(device, points=5)
    matrix = compatibility(kind, device)

    def run(unary, matrix=None):
        return ops.meanfield(unary, features, [1.5, 0.7], matrix, normalization, 3)

    assert torch.autograd.gradcheck(run, (unary,) if matrix is None else (unary, matrix))


def test_second_derivatives_of_the_operator(device: str) -> None:
    unary, features, _ = problem(device, batch=1, points=4)
    matrix = compatibility("matrix", device)
    assert torch.autograd.gradgradcheck(
        lambda unary, matrix: ops.meanfield(unary, features, [1.5, 0.7], matrix, iterations=2), (unary, matrix)
    )


def test_gradient_of_the_compatibility_alone(device: str) -> None:
    unary, features, _ = problem(device, points=5)
    matrix = compatibility("matrix", device)
    assert torch.autograd.gradcheck(lambda m: ops.meanfield(unary.detach(), features, [1.5, 0.7], m), (matrix,))


def test_operator_and_unrolled_steps_give_the_same_gradient_in_float32(device: str) -> None:
    unary, features, weights = problem(device, torch.float32, points=300)
    wanted = torch.randn_like(unary)
    fused = torch.autograd.grad(ops.meanfield(unary, features, [1.5, 0.7]), unary, wanted)[0]
    unrolled = torch.autograd.grad(ops.meanfield_unrolled(unary, features, weights), unary, wanted)[0]
    torch.testing.assert_close(fused, unrolled, rtol=1e-4, atol=1e-5)


def test_a_label_that_cannot_be_chosen_gets_gradient_zero(device: str) -> None:
    unary, features, _ = problem(device)
    unary = unary.detach().index_fill(1, torch.tensor([1], device=device), float("inf")).requires_grad_()
    gradient = torch.autograd.grad(ops.meanfield(unary, features, [1.5, 0.7]).square().sum(), unary)[0]
    assert torch.isfinite(gradient).all()
    assert (gradient[:, 1] == 0).all()


def test_no_gradient_to_the_features_is_said(device: str) -> None:
    unary, features, weights = problem(device)
    features[1].requires_grad_()
    q = ops.meanfield(unary, features, [1.5, 0.7])
    with pytest.raises(RuntimeError, match="meanfield: no gradient to the features"):
        q.sum().backward()
    with pytest.raises(RuntimeError, match="meanfield: no gradient to the features"):
        ops.meanfield_unrolled(unary, features, weights)


def test_operator_with_gradients_passes_opcheck(device: str) -> None:
    unary, features, _ = problem(device)
    op = torch.ops.deeplab.meanfield.default
    torch.library.opcheck(op, (unary, features, [3.0, 4.0], compatibility("matrix", device), "after", 2))


def test_gradient_survives_compile(device: str) -> None:
    unary, features, _ = problem(device)

    def loss(unary: torch.Tensor) -> torch.Tensor:
        return ops.meanfield(unary * 2, features, [1.5, 0.7]).square().sum()

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(*(torch.autograd.grad(f(unary), unary)[0] for f in (compiled, loss)))


def test_gradients_where_images_bring_their_own_weights(device: str) -> None:
    unary, features, _ = problem(device, points=5)
    weights = torch.tensor([1.5, 0.7, 0.2, 3.0], dtype=torch.float64, device=device, requires_grad=True)
    unrolled = ops.meanfield_unrolled(unary, features, weights, iterations=2)
    torch.testing.assert_close(unrolled, ops.meanfield(unary, features, weights.tolist(), iterations=2))
    assert torch.autograd.gradcheck(lambda u, w: ops.meanfield_unrolled(u, features, w, iterations=2), (unary, weights))
    assert torch.autograd.gradcheck(lambda u: ops.meanfield(u, features, weights.tolist(), iterations=2), (unary,))
