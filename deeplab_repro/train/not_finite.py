"""A loss or gradient that is NaN or infinite, and where that began."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from deeplab_repro.net.network import CaffeNet
from deeplab_repro.train.optimizer import Learnable

_REMEDY = "lower base_lr, set clip_gradients, or check data and labels"


class NotFinite(RuntimeError):
    """The loss, a gradient, or a blob on the way to them, is NaN or infinite."""


@torch.no_grad()
def check_gradients(learnables: Sequence[Learnable], iteration: int) -> None:
    """Make sure that an update can be made.

    Args:
        learnables: The blobs with their gradients.
        iteration: The iteration, counted from 0.

    Raises:
        NotFinite: A gradient is not finite; the message names the last such layer, where a backward pass meets it.
    """
    having = [(learnable, grad) for learnable in learnables if (grad := learnable.blob.grad) is not None]
    if not having:
        return
    # Largest absolute values: a sum of squares may overflow where no gradient does.
    largest = torch.stack(torch._foreach_norm([grad for _, grad in having], ord=math.inf))
    if bool(torch.isfinite(largest.sum())):
        return
    for (learnable, _), value in zip(reversed(having), reversed(largest.tolist()), strict=True):
        if not math.isfinite(value):
            raise NotFinite(
                f"iteration {iteration}: the gradient of layer {learnable.layer!r} is not finite, though the loss is; "
                f"{_REMEDY}"
            )


@torch.no_grad()
def blame(
    net: CaffeNet, iteration: int, loss: float, suspect: tuple[Mapping[str, Tensor], Mapping[str, Tensor]] | None
) -> NotFinite:
    """Find the first cause, weights, data, or a layer, by running the net once more.

    Args:
        net: The net.
        iteration: The iteration, counted from 0.
        loss: Its loss.
        suspect: The batch and dropout masks that gave the loss; None where that was another process.

    Returns:
        The error that names iteration and cause, to be raised.
    """
    where = f"iteration {iteration}: the loss is {loss}"
    for name, blobs in net.params.items():
        if not all(bool(torch.isfinite(blob).all()) for blob in blobs):
            return NotFinite(f"{where}; the weights of layer {name!r} are not finite any more; {_REMEDY}")
    if suspect is None:
        return NotFinite(f"{where} in another process; {_REMEDY}")
    batch, masks = suspect
    for name, value in batch.items():
        if not bool(torch.isfinite(value).all()):
            return NotFinite(f"{where}; the data layer's blob {name!r} holds values that are not finite")
    values = net(**batch, masks=masks, blobs="all")
    for layer in net.spec.layers:
        for top in layer.tops:
            if top in values and not bool(torch.isfinite(values[top]).all()):
                return NotFinite(f"{where}; not finite from layer {layer.name!r} ({layer.type}) on; {_REMEDY}")
    return NotFinite(f"{where}; {_REMEDY}")
