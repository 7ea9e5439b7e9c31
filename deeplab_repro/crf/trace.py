"""The course of a mean field: free energy and change of the marginals, iteration by iteration."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from deeplab_repro.ops.unrolled import NormalizedFilter, pairwise_energies, steps


class Trace(NamedTuple):
    """The course of a mean field.

    Attributes:
        marginals: As `DenseCRF` gives them.
        free_energy: [T + 1] or [N, T + 1] float64, at the start and after each of T iterations.
        change: [T] or [N, T], the largest difference an iteration makes to a marginal.

    Example:
        >>> import torch
        >>> from deeplab_repro import CRFParams, DenseCRF
        >>> image, scores = torch.zeros(4, 5, 3, dtype=torch.uint8), torch.rand(3, 4, 5)
        >>> trace = DenseCRF(CRFParams(iterations=6)).trace(image, scores)
        >>> trace.free_energy.shape, trace.change.shape
        (torch.Size([7]), torch.Size([6]))
    """

    marginals: Tensor
    free_energy: Tensor
    change: Tensor


def free_energy(q: Tensor, unary: Tensor, pairwise: Tensor) -> Tensor:
    """The variational free energy of marginals: the entropy's negative, the unary and half the pairwise energies.

    Up to the model's log partition function this is the KL divergence from the model; the self term counts, as in the
    update. Sums are in float64.

    Args:
        q: Marginals [P, L].
        unary: Energies [P, L].
        pairwise: [P, L], the `energies` of the messages.

    Returns:
        The free energy in nats, a float64 tensor of no axis.

    Source:
        Kraehenbuehl and Koltun 2011, appendix.

    Example:
        >>> import torch
        >>> from deeplab_repro.crf.trace import free_energy
        >>> nothing = torch.zeros(1, 2)
        >>> free_energy(torch.tensor([[0.5, 0.5]]), nothing, nothing)  # -log 2
        tensor(-0.6931, dtype=torch.float64)
    """
    q, unary, pairwise = q.double(), unary.double(), pairwise.double()
    # A label that cannot be chosen has infinite energy at probability 0.
    expected = torch.where(q > 0, q * (unary + pairwise / 2), 0)
    return (torch.special.xlogy(q, q) + expected).sum()


@torch.no_grad()
def trace_meanfield(
    unary: Tensor,
    features: Sequence[Tensor],
    kernel_weights: Sequence[float] | Tensor,
    compatibility: Tensor | None,
    normalization: str,
    iterations: int,
) -> Trace:
    """The `Trace` of a batch; slower than the operator, without gradient.

    Args:
        unary: As in `ops.meanfield`.
        features: As in `ops.meanfield`.
        kernel_weights: One number per kernel.
        compatibility: As in `ops.meanfield`.
        normalization: As in `ops.meanfield`.
        iterations: As in `ops.meanfield`.

    Returns:
        The trace, its marginals [B, L, P].

    Example:
        >>> import torch
        >>> from deeplab_repro.crf.trace import trace_meanfield
        >>> trace = trace_meanfield(torch.rand(1, 3, 20), [torch.rand(1, 20, 2)], [1.0], None, "after", 4)
        >>> trace.change.shape
        torch.Size([1, 4])
    """
    marginals, courses, changes = [], [], []
    for image, energy in enumerate(unary.transpose(1, 2)):
        filters = [NormalizedFilter(kernel[min(image, len(kernel) - 1)], normalization) for kernel in features]
        pairwise = pairwise_energies(filters, kernel_weights, compatibility)
        course, change = [], []
        # The last step's marginals are one iteration too far; its energies are those of the result.
        for step in islice(steps(energy, pairwise), iterations + 1):
            course.append(free_energy(step.before, energy, step.pairwise))
            change.append((step.after - step.before).abs().amax() if energy.numel() else energy.new_zeros(()))
        marginals.append(step.before.T)
        courses.append(torch.stack(course))
        changes.append(torch.stack(change[:-1]) if iterations else unary.new_zeros(0))
    if not marginals:
        return Trace(
            torch.empty_like(unary),
            unary.new_zeros(0, iterations + 1, dtype=torch.float64),
            unary.new_zeros(0, iterations),
        )
    return Trace(torch.stack(marginals), torch.stack(courses), torch.stack(changes))
