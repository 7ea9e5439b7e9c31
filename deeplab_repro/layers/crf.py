"""The forks' own layers around dense random fields."""

from __future__ import annotations

from math import exp

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from deeplab_repro import ops
from deeplab_repro.crf.features import bilateral_features, position_features
from deeplab_repro.crf.unary import log_probabilities
from deeplab_repro.layers.base import CaffeLayer, module
from deeplab_repro.ops.unrolled import iterate

FLT_MIN = float(np.finfo(np.float32).tiny)


class Kernel:
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
        _, height, width = scores.shape
        kernels = [
            *(
                Kernel(position_features(height, width, std, dtype=scores.dtype, device=scores.device), weight)
                for std, weight in zip(o.pos_xy_stds, o.pos_weights, strict=True)
            ),
            *(
                Kernel(bilateral_features(pixels, xy, rgb)[0], weight)
                for xy, rgb, weight in zip(o.bi_xy_stds, o.bi_rgb_stds, o.bi_weights, strict=True)
            ),
        ]
        # v1 starts from log softmax(scores): the same but for a constant per pixel, which mean field does not see.
        logits = scores.flatten(1).t().contiguous()
        q = iterate(-logits, lambda q: -sum((kernel(q) for kernel in kernels), start=torch.zeros_like(q)), o.max_iter)
        if not o.output_probability:
            # The forks' exponential is exactly 0 below e^-20, which only the logarithm brings to light.
            vanished = q < q.amax(1, keepdim=True) * exp(-20)
            q = log_probabilities(q.masked_fill(vanished, FLT_MIN), least=FLT_MIN)
        return q.t().reshape(scores.shape)


def _listed(layer: CaffeLayer, labels: Tensor, channels: int, ignored: tuple[int, ...] = ()) -> list[int]:
    """The labels in a list, -1 and the ignored left out; ValueError for one that is no channel."""
    listed = [
        index for index in labels.detach().reshape(-1).to(torch.int64).tolist() if index != -1 and index not in ignored
    ]
    strange = [index for index in listed if not 0 <= index < channels]
    if strange:
        raise layer.fail(f"label {strange[0]} is none of the {channels} channels")
    return listed


@module("BiasChannel")
class BiasChannel(CaffeLayer):
    """Scores [N, C, H, W] raised on the channels that the labels name; the gradient passes unchanged."""

    def forward(self, scores: Tensor, label: Tensor) -> Tensor:
        o = self.options
        channels = scores.shape[1]
        bias = torch.zeros_like(scores[..., :1, :1] if o.label_type == "IMAGE" else scores)
        if o.label_type == "IMAGE":
            for i, item in enumerate(label):
                for channel in _listed(self, item, channels, o.ignore_label):
                    bias[i, channel] += o.fg_bias if channel else o.bg_bias
            return scores + bias
        wanted = label.detach().to(torch.int64)
        skipped = wanted == -1
        for ignored in o.ignore_label:
            skipped |= wanted == ignored
        _listed(self, wanted[~skipped].unique(), channels)
        foreground = ~skipped if o.background_label is None else ~skipped & (wanted != o.background_label)
        bias.scatter_add_(1, wanted.masked_fill(skipped, 0), foreground.to(scores.dtype) * o.fg_bias)
        if o.background_label is not None:
            bias[:, o.background_label] += (~skipped)[:, 0].to(scores.dtype) * o.bg_bias
        return scores + bias


@module("AdaptiveBiasChannel")
class AdaptiveBiasChannel(CaffeLayer):
    """Scores [N, C, H, W] raised until each listed label is the highest at its portion of the pixels; no gradient.

    Then all channels of an item fall together until the mean of the highest listed score is what it was.
    Deviations: Caffe visits the foreground labels in a random order, here they come in ascending order; a portion of 1
    makes Caffe read past its buffer, here it is the largest difference."""

    @torch.no_grad()
    def forward(self, scores: Tensor, label: Tensor) -> Tensor:
        top = scores.clone()
        for planes, item in zip(top, label, strict=True):
            listed = sorted(_listed(self, item, scores.shape[1]))
            if listed:
                self._raise(planes.flatten(1), listed)
        return top

    def _raise(self, planes: Tensor, listed: list[int]) -> None:
        o = self.options
        if o.suppress_others:
            least = planes[listed].amin(0)
            others = [channel for channel in range(len(planes)) if channel not in listed]
            planes[others] = torch.where(planes[others] > least, least - o.margin_others, planes[others])
        highest = planes[listed].amax(0)
        mean, pixels = highest.double().mean(), planes.shape[1]
        for _ in range(o.num_iter):
            for channel in listed:
                # The product is taken in single precision, then truncated.
                rank = int(np.float32(o.fg_portion if channel else o.bg_portion) * np.float32(pixels))
                planes[channel] += (highest - planes[channel]).kthvalue(min(rank, pixels - 1) + 1).values
                highest = torch.maximum(highest, planes[channel])
        planes += (mean - highest.double().mean()).to(planes.dtype)


@module("UniqueLabel")
class UniqueLabel(CaffeLayer):
    """The distinct labels of each item, ascending, without the ignored, with the forced ones: [N, max_labels, 1, 1].

    Filled up with -1."""

    @torch.no_grad()
    def forward(self, label: Tensor) -> Tensor:
        o = self.options
        top = label.new_full((label.shape[0], o.max_labels, 1, 1), -1)
        for i, item in enumerate(label):
            labels = sorted({*item.to(torch.int64).unique().tolist()} - {*o.ignore_label} | {*o.force_label})
            if len(labels) > o.max_labels:
                raise self.fail(f"item {i} has {len(labels)} labels, max_labels is {o.max_labels}")
            top[i, : len(labels), 0, 0] = top.new_tensor(labels)
        return top
