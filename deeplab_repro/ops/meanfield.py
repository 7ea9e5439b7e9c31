"""The mean field of a dense CRF, over a lattice or over all pairs, as one operator each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from deeplab_repro.ops.extension import register_autograd
from deeplab_repro.ops.unrolled import meanfield_unrolled
from deeplab_repro.ops.wide_lattice import COMPILED_FEATURES

__all__ = ["meanfield", "meanfield_exact"]


def meanfield(
    unary: Tensor,
    features: Sequence[Tensor],
    kernel_weights: Sequence[float],
    compatibility: Tensor | None = None,
    normalization: str = "after",
    iterations: int = 10,
    storage: str = "same",
) -> Tensor:
    """Mean-field marginals of a fully connected CRF over permutohedral lattices.

    All tensors are float32 or all float64, on one device. The operator is differentiable in `unary` and `compatibility`
    (`meanfield_unrolled` also in the weights); no gradient reaches the features: backward raises RuntimeError. CUDA
    takes at most 8 kernels; a batch that does not fit its memory runs in parts.

    Args:
        unary: Energies [B, L, P].
        features: One tensor [B or 1, P, d] per kernel, divided by its standard deviations.
        kernel_weights: One number per kernel that multiplies its normalised filter. B M weights for M kernels, image
            after image, give each image its own, over one lattice where the features are shared.
        compatibility: The energy between labels, [L] (diagonal) or [L, L], in place of Potts' -1.
        normalization: Where a filter is divided by its filtered ones: "no", "before", "after" or "symmetric".
        iterations: Mean-field updates.
        storage: "float16", on CUDA and for float32 alone, keeps marginals and lattice values in half precision between
            the steps (sums in float32): half the memory traffic, marginals off by some 1e-2 where iterations amplify
            it. "same" keeps them in the unary's dtype.

    Returns:
        Marginals [B, L, P] of the unary's dtype.

    Raises:
        RuntimeError: Shapes or dtypes do not belong together, features are not finite, or a normalization or storage
            is unknown or not for this device; the message names the argument.
        torch.cuda.OutOfMemoryError: One image does not fit the memory.

    Source:
        Kraehenbuehl and Koltun 2011, algorithm 1; the self term counts, as in their code.

    Example:
        >>> import torch
        >>> from deeplab_repro import ops
        >>> unary, features = torch.rand(1, 3, 20), torch.rand(1, 20, 2)
        >>> q = ops.meanfield(unary, [features], [1.0], iterations=2)
        >>> q.shape, torch.allclose(q.sum(1), torch.ones(1, 20))
        (torch.Size([1, 3, 20]), True)
    """
    if any(kernel.shape[-1] > COMPILED_FEATURES for kernel in features if kernel.dim()):
        return meanfield_unrolled(unary, features, kernel_weights, compatibility, normalization, iterations)
    return torch.ops.deeplab.meanfield(
        unary, list(features), list(kernel_weights), compatibility, normalization, iterations, storage
    )


def _save_problem(ctx, inputs, output) -> None:
    """Keep the arguments of the operator `meanfield` for its gradient."""
    unary, features, ctx.weights, compatibility, ctx.normalization, ctx.iterations, ctx.storage = inputs
    ctx.save_for_backward(unary, compatibility, *features)


def _meanfield_backward(ctx, grad: Tensor):
    """Gradients of the operator `meanfield`: the unrolled steps, run again, one set of marginals kept an iteration.

    In full precision also where the operator stored half."""
    unary, compatibility, *features = ctx.saved_tensors
    for_unary, for_features, _, for_compatibility, *_ = ctx.needs_input_grad
    if any(for_features):
        raise RuntimeError("meanfield: no gradient to the features is implemented; detach them")
    twice = torch.is_grad_enabled()
    with torch.enable_grad():
        q = meanfield_unrolled(
            unary, features, ctx.weights, compatibility, ctx.normalization, ctx.iterations, recompute=not twice
        )
        wanted = [leaf for leaf, needed in ((unary, for_unary), (compatibility, for_compatibility)) if needed]
        grads = list(torch.autograd.grad(q, wanted, grad, create_graph=twice, materialize_grads=True))
    return (
        grads.pop(0) if for_unary else None,
        [None] * len(features),
        None,
        grads.pop(0) if for_compatibility else None,
        None,
        None,
        # The dispatcher leaves an argument with its default value out of what autograd counts.
        *([] if ctx.storage == "same" else [None]),
    )


register_autograd("meanfield", _meanfield_backward, _save_problem)


def meanfield_exact(
    unary: Tensor,
    features: Sequence[Tensor],
    kernel_weights: Sequence[float],
    compatibility: Tensor | None = None,
    normalization: str = "after",
    iterations: int = 10,
    skip_below: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """As `meanfield`, over all pairs of points instead of a lattice, without gradient.

    Time grows with P^2. Pairs of blocks of 64 consecutive points whose weights all lie below `skip_below` are left out;
    order the points so that close ones follow each other (`spatial_order`).

    Args:
        unary: As in `meanfield`.
        features: As in `meanfield`.
        kernel_weights: As in `meanfield`.
        compatibility: As in `meanfield`.
        normalization: As in `meanfield`.
        iterations: As in `meanfield`.
        skip_below: A weight between two points, in 0..1.

    Returns:
        Marginals [B, L, P] of the unary's dtype, and error_bound [B] float64: what the pairs left out did to any
        marginal of the image at most, rounding aside; 0 where nothing is skipped, at most 1.

    Raises:
        RuntimeError: As `meanfield` does, and for a `skip_below` outside 0..1.

    Source:
        Kraehenbuehl and Koltun 2011, equation 3 summed as it stands.

    Example:
        >>> import torch
        >>> from deeplab_repro import ops
        >>> q, bound = ops.meanfield_exact(torch.rand(1, 3, 20), [torch.rand(1, 20, 2)], [1.0], iterations=2)
        >>> q.shape, bound
        (torch.Size([1, 3, 20]), tensor([0.], dtype=torch.float64))
    """
    return torch.ops.deeplab.meanfield_exact(
        unary, list(features), list(kernel_weights), compatibility, normalization, iterations, skip_below
    )


def _refuse_gradients(ctx, *grads: Tensor):
    raise RuntimeError('meanfield_exact: no gradient is implemented; use the lattice ("meanfield"), which has one')


register_autograd("meanfield_exact", _refuse_gradients)
