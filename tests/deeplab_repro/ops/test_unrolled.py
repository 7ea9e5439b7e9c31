"""The mean field step by step, each differentiable."""

import pytest
import torch

from deeplab_repro import ops
from tests.deeplab_repro.ops.small_field import NORMALIZATIONS, compatibility, problem


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["potts", "diagonal", "matrix"])
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_unrolled_steps_equal_the_operator(normalization: str, kind: str, dtype: torch.dtype, device: str) -> None:
    unary, features, weights = problem(device, dtype, points=200)
    matrix = compatibility(kind, device, dtype)
    got = ops.meanfield_unrolled(unary, features, weights, matrix, normalization, 4)
    torch.testing.assert_close(got, ops.meanfield(unary, features, [1.5, 0.7], matrix, normalization, 4))


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("kind", ["potts", "diagonal", "matrix"])
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_gradients_of_the_unrolled_steps(normalization: str, kind: str, recompute: bool, device: str) -> None:
    unary, features, weights = problem(device, points=5)
    matrix = compatibility(kind, device)

    def run(*inputs):
        return ops.meanfield_unrolled(
            *inputs[:1], features, *inputs[1:], normalization=normalization, iterations=3, recompute=recompute
        )

    assert torch.autograd.gradcheck(run, (unary, weights) if matrix is None else (unary, weights, matrix))


def test_unrolled_steps_check_arguments_as_the_operator_does() -> None:
    unary, features, weights = problem("cpu")
    with pytest.raises(RuntimeError, match="normalization must be 'no', 'before', 'after' or 'symmetric', got 'off'"):
        ops.meanfield_unrolled(unary, features, weights, normalization="off")
    with pytest.raises(RuntimeError, match="2 feature tensors for 1 kernel weights"):
        ops.meanfield_unrolled(unary, features, weights[:1])
    with pytest.raises(RuntimeError, match="iterations must be 0 or more, got -1"):
        ops.meanfield_unrolled(unary, features, weights, iterations=-1)


def test_unrolled_empty_batch() -> None:
    unary, features, weights = problem("cpu", batch=0)
    assert ops.meanfield_unrolled(unary, features, weights).shape == unary.shape
