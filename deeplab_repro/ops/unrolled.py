"""The mean field of a dense CRF step by step, each differentiable: the fused operator's gradient, and its oracle.

Built from `lattice_filter`, whose adjoint is the filter in reverse order, and torch's own functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from deeplab_repro.ops.lattice import lattice_build, lattice_filter
from deeplab_repro.ops.wide_lattice import COMPILED_FEATURES


class NormalizedFilter:
    """The Gaussian filter of one kernel, divided by its filtered ones as `normalization` says.

    The lattice is built once; a call filters values [P, C] of the features' dtype and device.

    Args:
        features: Points [P, d], divided by their standard deviations.
        normalization: "no", "before", "after" or "symmetric".
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
        """Filter values [P, C] and normalise them."""
        filtered = self._filter(values if self.before is None else values * self.before)
        return filtered if self.after is None else filtered * self.after

    def _filter(self, values: Tensor) -> Tensor:
        return lattice_filter(values.contiguous(), self.lattice)


def messages(q: Tensor, filters: Sequence[NormalizedFilter], weights: Sequence[float] | Tensor) -> Tensor:
    """The weighted sum of the kernels' filtered marginals.

    Args:
        q: Marginals [P, L].
        filters: The kernels' filters.
        weights: One number per kernel.

    Returns:
        Messages [P, L].
    """
    total = torch.zeros_like(q)
    for kernel, weight in zip(filters, weights, strict=True):
        total = total + weight * kernel(q)
    return total


def energies(message: Tensor, compatibility: Tensor | None) -> Tensor:
    """What messages add to the energies.

    Args:
        message: Messages [P, L].
        compatibility: None for Potts' -1, a diagonal [L] or a matrix [L, L], which multiplies them.

    Returns:
        Energies [P, L].
    """
    if compatibility is None:
        return -message
    return message * compatibility if compatibility.dim() == 1 else message @ compatibility.T


def pairwise_energies(
    filters: Sequence[NormalizedFilter], weights: Sequence[float] | Tensor, compatibility: Tensor | None
) -> Callable[[Tensor], Tensor]:
    """What marginals [P, L] add to the energies, as a function of them: for `steps`."""
    return lambda q: energies(messages(q, filters, weights), compatibility)


class MeanFieldStep(NamedTuple):
    """One iteration of the mean field over P points: marginals [P, L] before and after.

    pairwise [P, L]: what the messages of `before` add to the energies."""

    before: Tensor
    pairwise: Tensor
    after: Tensor


def start(unary: Tensor) -> Tensor:
    """The marginals [P, L] that the mean field starts from: without any message."""
    return torch.softmax(-unary, 1)


def steps(
    unary: Tensor, pairwise: Callable[[Tensor], Tensor], q: Tensor | None = None, recompute: bool = False
) -> Iterator[MeanFieldStep]:
    """The iterations of a mean field, one after the other without end.

    Args:
        unary: Energies [P, L].
        pairwise: What marginals [P, L] add to them, such as `energies` of `messages`.
        q: The marginals to go on from; None for `start`.
        recompute: Keep the marginals alone for the gradient and compute the rest of a step again.

    Yields:
        The steps.

    Source:
        Kraehenbuehl and Koltun 2011, algorithm 1; the self term counts.
    """

    def step(q: Tensor) -> tuple[Tensor, Tensor]:
        added = pairwise(q)
        return added, torch.softmax(-unary - added, 1)

    q = start(unary) if q is None else q
    while True:
        added, after = checkpoint(step, q, use_reentrant=False) if recompute else step(q)
        yield MeanFieldStep(q, added, after)
        q = after


def iterate(unary: Tensor, pairwise: Callable[[Tensor], Tensor], iterations: int, recompute: bool = False) -> Tensor:
    """The marginals [P, L] after that many `steps`."""
    q = start(unary)
    for step in islice(steps(unary, pairwise, q, recompute), iterations):
        q = step.after
    return q


def meanfield_unrolled(
    unary: Tensor,
    features: Sequence[Tensor],
    kernel_weights: Sequence[float] | Tensor,
    compatibility: Tensor | None = None,
    normalization: str = "after",
    iterations: int = 10,
    recompute: bool = False,
) -> Tensor:
    """Mean-field marginals step by step, differentiable (also twice) in unary, kernel weights and compatibility.

    Args:
        unary: As in `ops.meanfield`.
        features: As in `ops.meanfield`; none may require a gradient.
        kernel_weights: As in `ops.meanfield`, or a tensor [M] or [B M].
        compatibility: As in `ops.meanfield`.
        normalization: As in `ops.meanfield`.
        iterations: As in `ops.meanfield`.
        recompute: Whether to keep one tensor of marginals an iteration for the gradient and compute the rest again.

    Returns:
        Marginals [B, L, P] of the unary's dtype.

    Raises:
        RuntimeError: As `ops.meanfield` does, and where features require a gradient.

    Source:
        Zheng et al. 2015, section 4: the iterations as layers; Kraehenbuehl and Koltun 2011, algorithm 1.

    Example:
        >>> import torch
        >>> from deeplab_repro import ops
        >>> weight = torch.tensor([1.0], requires_grad=True)
        >>> q = ops.meanfield_unrolled(torch.rand(1, 3, 20), [torch.rand(1, 20, 2)], weight, iterations=2)
        >>> q[0, 0].sum().backward()
        >>> weight.grad.shape
        torch.Size([1])
    """
    # The operator's Meta kernel checks the arguments, but for the number of features, of which it takes fewer.
    checked = _meta(*(kernel[..., :COMPILED_FEATURES] if kernel.dim() else kernel for kernel in features))
    torch.ops.deeplab.meanfield(
        *_meta(unary), checked, [0.0] * len(kernel_weights), *_meta(compatibility), normalization, iterations
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
        pairwise = pairwise_energies(filters, weights, compatibility)
        marginals.append(iterate(energy, pairwise, iterations, recompute).T)
    return torch.stack(marginals) if marginals else torch.empty_like(unary)


def _meta(*tensors: Tensor | None) -> list[Tensor | None]:
    return [None if tensor is None else tensor.detach().to("meta") for tensor in tensors]
