"""Caffe's parameter fillers (filler.hpp), drawn from torch's generator."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from prototxt_import import Filler


@torch.no_grad()
def fill_(blob: Tensor, filler: Filler, generator: torch.Generator | None = None) -> Tensor:
    """Fill a blob in place as Caffe's filler of that type does.

    Distributions are Caffe's, the random numbers are not.

    Args:
        blob: The blob.
        filler: Type and numbers.
        generator: Where the numbers come from; None for torch's own.

    Returns:
        The blob.

    Raises:
        ValueError: The type is unknown, a bilinear kernel is not square, or `sparse` is more than the outputs.

    Source:
        Caffe's filler.hpp.
    """
    kind = filler.type
    if kind == "constant":
        return blob.fill_(filler.value)
    if kind == "uniform":
        return blob.uniform_(filler.min, filler.max, generator=generator)
    if kind == "gaussian":
        return _gaussian(blob, filler, generator)
    if kind == "xavier":
        bound = math.sqrt(3.0 / _fan(blob, filler))
        return blob.uniform_(-bound, bound, generator=generator)
    if kind == "msra":
        return blob.normal_(0.0, math.sqrt(2.0 / _fan(blob, filler)), generator=generator)
    if kind == "positive_unitball":
        blob.uniform_(0.0, 1.0, generator=generator)
        return blob.div_(blob.flatten(1).sum(1).view(-1, *[1] * (blob.dim() - 1)))
    if kind == "bilinear":
        return blob.copy_(_bilinear(blob))
    known = "bilinear, constant, gaussian, msra, positive_unitball, uniform, xavier"
    raise ValueError(f"filler type {kind!r} is unknown; known are {known}")


def _gaussian(blob: Tensor, filler: Filler, generator: torch.Generator | None) -> Tensor:
    blob.normal_(filler.mean, filler.std, generator=generator)
    if filler.sparse >= 0:
        if filler.sparse > blob.shape[0]:
            raise ValueError(f"filler: sparse is {filler.sparse}, more than the {blob.shape[0]} outputs")
        # `sparse` is the expected number of non-zero weights of each output.
        keep = torch.full_like(blob, filler.sparse / blob.shape[0])
        blob.mul_(torch.bernoulli(keep, generator=generator))
    return blob


def _fan(blob: Tensor, filler: Filler) -> float:
    fan_in = blob.numel() / blob.shape[0]
    fan_out = blob.numel() / blob.shape[1] if blob.dim() > 1 else blob.numel()
    rule = filler.variance_norm
    return {"FAN_IN": fan_in, "FAN_OUT": fan_out, "AVERAGE": (fan_in + fan_out) / 2}[rule]


def _bilinear(blob: Tensor) -> Tensor:
    if blob.dim() != 4 or blob.shape[2] != blob.shape[3]:
        raise ValueError(f"filler type 'bilinear' needs a square kernel, got a blob of shape {tuple(blob.shape)}")
    size = blob.shape[3]
    factor = math.ceil(size / 2)
    centre = (2 * factor - 1 - factor % 2) / (2 * factor)
    tent = 1 - (torch.arange(size, dtype=torch.float64) / factor - centre).abs()
    return torch.outer(tent, tent)
