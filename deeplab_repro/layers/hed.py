"""HED's loss on edges, which are few."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def balanced_cross_entropy(x: Tensor, target: Tensor) -> Tensor:
    """The sum over the items of sigmoid cross entropy in which each class weighs as much as the other has positions.

    Of P targets equal to 1 and Q equal to 0 the former count Q / (P + Q), the latter P / (P + Q); NaN where there are
    neither. Other targets count in none of this, but send back the plain gradient sigmoid(x) - t, as in the fork."""
    if x.dim() == 1:
        x, target = x.unsqueeze(1), target.unsqueeze(1)
    entropy = F.binary_cross_entropy_with_logits(x, target, reduction="none").flatten(1)
    target = target.flatten(1)
    ones, zeros = target == 1, target == 0
    count = ones.sum(1), zeros.sum(1)
    total = (count[0] + count[1]).to(x.dtype)
    loss = count[1] / total * entropy.masked_fill(~ones, 0).sum(1)
    loss = loss + count[0] / total * entropy.masked_fill(~zeros, 0).sum(1)
    others = entropy.masked_fill(ones | zeros, 0).sum()
    return loss.sum() + (others - others.detach())
