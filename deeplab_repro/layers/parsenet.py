"""ParseNet's Normalize."""

from __future__ import annotations

import torch
from torch import Tensor

from deeplab_repro.layers.base import CaffeLayer, module
from prototxt_import import LayerSpec, NetSpec


@module("Normalize")
class Normalize(CaffeLayer):
    """x / sqrt(sum of x^2 + eps) times the blob `scale`: summed over channels, or with across_spatial over the item."""

    scale: Tensor

    def __init__(self, layer: LayerSpec, spec: NetSpec) -> None:
        super().__init__(layer, spec)
        self.add_blob("scale", self.options.scale_filler)

    def forward(self, x: Tensor) -> Tensor:
        o = self.options
        axes = list(range(1, x.dim())) if o.across_spatial else [1]
        scale = self.scale.reshape([1, -1] + [1] * (x.dim() - 2))
        return x * torch.rsqrt((x * x).sum(axes, keepdim=True) + o.eps) * scale
