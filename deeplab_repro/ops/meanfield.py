"""The mean field of a dense CRF, over a lattice or over all pairs, as one operator each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from deeplab_repro.ops.extension import register_autograd
from deeplab_repro.ops.unrolled import meanfield_unrolled

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
    """Mean-field marginals [B, L, P] of a fully connected CRF with energies ``unary`` [B, L, P].

    All tensors are float32 or all float64, on one device. ``features[m]`` [B or 1, P, d] are the m-th kernel's, divided
    by their standard deviations; ``kernel_weights[m]`` multiplies its normalised filter; B M weights, image after
    image, give each image its own, over one lattice where the features are shared. ``compatibility`` is the energy
    between labels, [L] (diagonal) or [L, L], in place of Potts' -1. ``normalization``: "no", "before", "after" or
    "symmetric". Differentiable in ``unary`` and ``compatibility`` (`meanfield_unrolled` also in the weights); no
    gradient to the features: backward raises RuntimeError. Raises RuntimeError, naming the argument, for shapes or
    dtypes that do not belong together, features that are not finite, and an unknown normalization or storage. Source:
    Kraehenbuehl and Koltun 2011; self term included as in their code.

    ``storage="float16"``, on CUDA and for float32 alone, keeps marginals and lattice values in half precision between
    the steps (sums in float32): half the memory traffic, marginals off by some 1e-2 where iterations amplify it. Other
    devices refuse it. CUDA takes at most 8 kernels; a batch that does not fit its memory runs in parts, one image that
    does not fit raises torch.cuda.OutOfMemoryError.
    """
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
    """As `meanfield`, over all pairs of points instead of a lattice: (marginals [B, L, P], error_bound [B] float64).

    Time grows with P^2. Pairs of blocks of 64 consecutive points whose weights all lie below ``skip_below`` are left
    out; order the points so that close ones follow each other (`spatial_order`). ``error_bound`` bounds what that did
    to any marginal of the image, rounding aside; 0 where nothing is skipped, at most 1. No gradient. dtypes and errors
    as of `meanfield`; also RuntimeError for a ``skip_below`` outside 0..1.
    """
    return torch.ops.deeplab.meanfield_exact(
        unary, list(features), list(kernel_weights), compatibility, normalization, iterations, skip_below
    )


def _refuse_gradients(ctx, *grads: Tensor):
    raise RuntimeError('meanfield_exact: no gradient is implemented; use the lattice ("meanfield"), which has one')


register_autograd("meanfield_exact", _refuse_gradients)
