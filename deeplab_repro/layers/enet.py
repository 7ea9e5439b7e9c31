"""ENet's SpatialDropout."""

from __future__ import annotations

import torch
from torch import Tensor

from deeplab_repro.layers.base import CaffeLayer, module


@module("SpatialDropout")
class SpatialDropout(CaffeLayer):
    """Keeps each channel of each item with probability 1 - p, and scales by 1 / (1 - p); the string's TEST only scales.

    mask: zeros and ones in place of random draws, one per item and channel.
    Deviation: the fork's gradient in TRAIN uses the last item's mask for all; here each has its own."""

    takes_mask = True

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        o = self.options
        scaled = x * (1.0 / (1.0 - o.p))
        if o.phase == "TEST":
            return scaled
        kept = x.shape[:2]
        if mask is None:
            mask = torch.bernoulli(torch.full(kept, 1 - o.p, device=x.device))
        elif mask.numel() != kept.numel():
            raise self.fail(f"its mask has shape {tuple(mask.shape)}, the blob {kept[0]} x {kept[1]} channels")
        return scaled * mask.to(x).reshape(*kept, *[1] * (x.dim() - 2))
