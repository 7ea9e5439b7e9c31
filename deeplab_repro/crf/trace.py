"""The course of a mean field: free energy and change of the marginals, iteration by iteration."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from deeplab_repro.ops.unrolled import NormalizedFilter, pairwise_energies, steps


class Trace(NamedTuple):
    """marginals: as `DenseCRF` gives them. free_energy [T + 1] or [N, T + 1]: of the start and after each iteration.

    change [T] or [N, T]: the largest difference an iteration makes to a marginal."""

    marginals: Tensor
    free_energy: Tensor
    change: Tensor


def free_energy(q: Tensor, unary: Tensor, pairwise: Tensor) -> Tensor:
    """Variational free energy of marginals q [P, L]: the entropy's negative, unary and half the pairwise energies.

    pairwise [P, L]: `energies` of the messages. Up to the model's log partition function this is the KL divergence from
    the model; the self term counts, as in the update. Sums in float64."""
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
    """`Trace` of a batch; arguments as `ops.meanfield`, marginals [B, L, P]. Slower than the operator, no gradient."""
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
