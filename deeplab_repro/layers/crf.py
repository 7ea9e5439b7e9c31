"""The forks' own layers around dense random fields."""

from __future__ import annotations

from math import exp

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from deeplab_repro import ops
from deeplab_repro.crf import bilateral_features, position_features
from deeplab_repro.layers.base import CaffeLayer, module

FLT_MIN = float(np.finfo(np.float32).tiny)


class _Kernel:
    """A Gaussian kernel over N points with features [N, d], divided by its own response to ones."""

    def __init__(self, features: Tensor, weight: float) -> None:
        # The forks build the lattice from four points at a time and fill up with zero features. These carry no mass,
        # but their vertices let some through; a mean-free image has colours that near, so the result depends on it.
        self.extra = -features.shape[0] % 4
        self.lattice = ops.lattice_build(F.pad(features, (0, 0, 0, self.extra)))
        self.scale = weight / (self._filter(features.new_ones(features.shape[0], 1)) + 1e-20)

    def _filter(self, values: Tensor) -> Tensor:
        return ops.lattice_filter(F.pad(values, (0, 0, 0, self.extra)), self.lattice)[: values.shape[0]]

    def __call__(self, values: Tensor) -> Tensor:
        return self._filter(values) * self.scale


@module("DenseCRF")
class DenseCRF(CaffeLayer):
    """Mean field over scores [N, L, H, W], dims [N, 1, 1, 2] (true height and width) and the net's image [N, 3, H, W].

    Gives probabilities, or log(max(p, FLT_MIN)) with output_probability: false. Where the true size is smaller than
    the blob, only the top left part of that size is processed and the rest is 0. No gradient, as in Caffe.
    Deviation: Caffe filters every item of a batch with the colours of the first; here each has its own."""

    @torch.no_grad()
    def forward(self, scores: Tensor, dims: Tensor, image: Tensor) -> Tensor:
        height, width = scores.shape[-2:]
        top = torch.zeros_like(scores)
        for i, (h, w) in enumerate(dims.reshape(-1, 2).to(torch.int64).tolist()):
            if h >= height and w >= width:
                h, w = height, width
            h, w = min(h, height), min(w, width)
            if h < 1 or w < 1:
                raise self.fail(f"item {i} has true size {h} x {w}; both must be at least 1")
            top[i, :, :h, :w] = self._refine(scores[i, :, :h, :w], image[i, :, :h, :w])
        return top

    def _refine(self, scores: Tensor, image: Tensor) -> Tensor:
        o = self.options
        pixels = image.permute(1, 2, 0)[None]
        position = {"dtype": scores.dtype, "device": scores.device}
        kernels = [
            *(
                _Kernel(position_features(*scores.shape[1:], std, **position), weight)
                for std, weight in zip(o.pos_xy_stds, o.pos_weights, strict=True)
            ),
            *(
                _Kernel(bilateral_features(pixels, xy, rgb)[0], weight)
                for xy, rgb, weight in zip(o.bi_xy_stds, o.bi_rgb_stds, o.bi_weights, strict=True)
            ),
        ]
        # v1 starts from log softmax(scores): the same but for a constant per pixel, which mean field does not see.
        logits = scores.flatten(1).t().contiguous()
        q = logits.softmax(1)
        for _ in range(o.max_iter):
            q = sum((kernel(q) for kernel in kernels), start=logits).softmax(1)
        if not o.output_probability:
            # The forks' exponential is exactly 0 below e^-20, which only the logarithm brings to light.
            vanished = q < q.amax(1, keepdim=True) * exp(-20)
            q = q.masked_fill(vanished, FLT_MIN).clamp(min=FLT_MIN).log()
        return q.t().reshape(scores.shape)


@module("UniqueLabel")
class UniqueLabel(CaffeLayer):
    """The distinct labels of each item, ascending, without the ignored, with the forced ones: [N, max_labels, 1, 1].

    Filled up with -1."""

    @torch.no_grad()
    def forward(self, label: Tensor) -> Tensor:
        o = self.options
        top = label.new_full((label.shape[0], o.max_labels, 1, 1), -1)
        for i, item in enumerate(label):
            found = sorted({*item.to(torch.int64).unique().tolist()} - {*o.ignore_label} | {*o.force_label})
            if len(found) > o.max_labels:
                raise self.fail(f"item {i} has {len(found)} labels, max_labels is {o.max_labels}")
            top[i, : len(found), 0, 0] = top.new_tensor(found)
        return top
