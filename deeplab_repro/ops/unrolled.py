"""The mean field of a dense CRF as a chain of differentiable steps: the fused operator's gradient, and its oracle.

Built from `lattice_filter`, whose adjoint is the filter in reverse order, and torch's own functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from deeplab_repro.ops.lattice import lattice_build, lattice_filter


class NormalizedFilter:
    """The filter of one kernel, features [P, d], divided by its filtered ones as `normalization` says.

    The lattice is built once; values are [P, C] of the features' dtype and device.
    """

    def __init__(self, features: Tensor, normalization: str) -> None:
        self.lattice = lattice_build(features)
        self.before: Tensor | None = None
        self.after: Tensor | None = None
        if normalization == "no":
            return
        norm = self._filter(torch.ones_like(features[:, :1]))
        factor = norm.rsqrt() if normalization == "symmetric" else norm.reciprocal()
        if normalization in ("before", "symmetric"):
            self.before = factor
        if normalization in ("after", "symmetric"):
            self.after = factor

    def __call__(self, values: Tensor) -> Tensor:
        filtered = self._filter(values if self.before is None else values * self.before)
        return filtered if self.after is None else filtered * self.after

    def _filter(self, values: Tensor) -> Tensor:
        return lattice_filter(values.contiguous(), self.lattice)


def messages(q: Tensor, filters: Sequence[NormalizedFilter], weights: Sequence[float] | Tensor) -> Tensor:
    """The weighted sum of the kernels' filtered marginals: q [P, L] -> [P, L]."""
    total = torch.zeros_like(q)
    for kernel, weight in zip(filters, weights, strict=True):
        total = total + weight * kernel(q)
    return total


def energies(message: Tensor, compatibility: Tensor | None) -> Tensor:
    """What the messages [P, L] add to the energies: Potts' -1, a diagonal [L] or a matrix [L, L] times them."""
    if compatibility is None:
        return -message
    return message * compatibility if compatibility.dim() == 1 else message @ compatibility.T


def _step(
    q: Tensor,
    unary: Tensor,
    weights: Sequence[float] | Tensor,
    compatibility: Tensor | None,
    filters: Sequence[NormalizedFilter],
) -> Tensor:
    return torch.softmax(-unary - energies(messages(q, filters, weights), compatibility), 1)


def meanfield_unrolled(
    unary: Tensor,
    features: Sequence[Tensor],
    kernel_weights: Sequence[float] | Tensor,
    compatibility: Tensor | None = None,
    normalization: str = "after",
    iterations: int = 10,
    recompute: bool = False,
) -> Tensor:
    """Mean-field marginals [B, L, P], differentiable (also twice) in unary, kernel weights and compatibility.

    Arguments and errors as in `ops.meanfield`, but `kernel_weights` may be a tensor [M] or [B M]. ``recompute`` keeps
    one tensor of marginals an iteration for the gradient and computes the others again. No gradient to the features:
    RuntimeError where they require one.
    """
    # The operator's Meta kernel checks the arguments.
    torch.ops.deeplab.meanfield(
        *_meta(unary), _meta(*features), [0.0] * len(kernel_weights), *_meta(compatibility), normalization, iterations
    )
    if any(kernel.requires_grad for kernel in features):
        raise RuntimeError("meanfield: no gradient to the features is implemented; detach them")
    kernels = len(features)
    # As the operator: weights of all images, or image after image.
    own = len(kernel_weights) != kernels
    shared = [NormalizedFilter(kernel[0], normalization) if len(kernel) == 1 else None for kernel in features]
    marginals = []
    for image, energy in enumerate(unary.transpose(1, 2)):
        filters = [
            known or NormalizedFilter(kernel[image], normalization)
            for known, kernel in zip(shared, features, strict=True)
        ]
        weights = kernel_weights[image * kernels : (image + 1) * kernels] if own else kernel_weights
        q = torch.softmax(-energy, 1)
        step = partial(_step, filters=filters)
        for _ in range(iterations):
            if recompute:
                q = checkpoint(step, q, energy, weights, compatibility, use_reentrant=False)
            else:
                q = step(q, energy, weights, compatibility)
        marginals.append(q.T)
    return torch.stack(marginals) if marginals else torch.empty_like(unary)


def _meta(*tensors: Tensor | None) -> list[Tensor | None]:
    return [None if each is None else each.detach().to("meta") for each in tensors]
