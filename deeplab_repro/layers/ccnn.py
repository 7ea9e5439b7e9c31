"""CCNN's dense random field."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from deeplab_repro.crf.features import position_features
from deeplab_repro.layers.base import CaffeLayer, module
from deeplab_repro.layers.crf import Kernel
from deeplab_repro.ops.unrolled import iterate

ITERATIONS = 10  # fixed in the fork


@module("LabelCRF")
class LabelCRF(CaffeLayer):
    """The most probable label [N, 1, H, W] of each pixel after ten mean-field updates of scores [N, L, H, W].

    Colours of the image [N, 3, H, W] are cut to bytes and turned from BGR to RGB. No gradient, as in the fork."""

    @torch.no_grad()
    def forward(self, scores: Tensor, image: Tensor) -> Tensor:
        o = self.options
        _, _, height, width = scores.shape
        grid = position_features(height, width, 1.0, dtype=scores.dtype, device=scores.device)
        near = Kernel(grid / scores.new_tensor([o.x_gauss, o.y_gauss]), o.wt_gauss)
        stds = scores.new_tensor([o.x_bilateral, o.y_bilateral, o.r_bilateral, o.g_bilateral, o.b_bilateral])
        top = scores.new_empty(scores.shape[0], 1, height, width)
        for labels, x, bgr in zip(top, scores, image, strict=True):
            rgb = bgr.flip(0).to(torch.int64).bitwise_and(255).to(scores.dtype)
            alike = Kernel(torch.cat([grid, rgb.flatten(1).t()], 1) / stds, o.wt_bilateral)
            logits = x.flatten(1).t().contiguous()
            q = iterate(-logits, partial(_added, near, alike), ITERATIONS)
            labels.copy_(q.argmax(1).reshape(labels.shape))
        return top


def _added(near: Kernel, alike: Kernel, q: Tensor) -> Tensor:
    """What q [P, L] adds to the energies."""
    return -near(q) - alike(q)
