"""Mean field over the labels that some pixel considers, chosen image by image."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Infer = Callable[[Tensor, Sequence[Tensor], Sequence[float] | Tensor, Tensor | None], Tensor]


def infer_pruned(
    infer: Infer,
    bound: float,
    unary: Tensor,
    features: Sequence[Tensor],
    weights: Sequence[float] | Tensor,
    compatibility: Tensor | None,
) -> Tensor:
    """`infer` on each image's labels whose softmax of -unary exceeds `bound` at some pixel; the others get 0.

    Arguments as `ops.meanfield`. Which labels stay depends on the image, so the result is an approximation that no
    bound on the marginals comes with; the most probable label of each pixel at the start always stays."""
    marginals = []
    for image, energy in enumerate(unary):
        start = torch.softmax(-energy, 0)
        highest = start.amax(1) if start.numel() else start.new_ones(len(start))
        kept = highest > bound
        kept[start.argmax(0).unique()] = True
        labels = kept.nonzero()[:, 0]
        own = [kernel[min(image, len(kernel) - 1)][None] for kernel in features]
        among = compatibility
        if among is not None:
            among = among[labels] if among.dim() == 1 else among[labels][:, labels]
        refined = infer(energy[labels][None], own, weights, among)[0]
        marginals.append(torch.zeros_like(energy).index_copy(0, labels, refined))
    return torch.stack(marginals) if marginals else torch.empty_like(unary)
