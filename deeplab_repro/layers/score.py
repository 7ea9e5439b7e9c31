"""What makes answers of scores (Softmax, ArgMax), and what judges scores by labels."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from deeplab_repro.layers.base import CaffeLayer, module
from deeplab_repro.layers.labels import Labelled
from prototxt_import import LayerSpec, NetSpec


@module("Softmax")
class Softmax(CaffeLayer):
    """Softmax along an axis."""

    def forward(self, x: Tensor) -> Tensor:
        return F.softmax(x, self.options.axis)


@module("ArgMax")
class ArgMax(CaffeLayer):
    """Indices (or values, or both) of the top_k largest; ties go to the largest index. Without gradient.

    per_pixel (v1): over the channels, k index planes, then k value planes with out_max_val. axis given: along it,
    indices, or values with out_max_val. Neither: over each whole item, [N, 1 or 2, top_k]."""

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        o = self.options
        if o.axis is not None and not o.per_pixel:
            values, index = descending(x, o.axis % x.dim(), o.top_k)
            return values if o.out_max_val else index.to(x.dtype)
        rows = x if o.per_pixel else x.reshape(x.shape[0], 1, math.prod(x.shape[1:]))
        values, index = descending(rows, 1 if o.per_pixel else 2, o.top_k)
        index = index.to(x.dtype)
        return torch.cat([index, values], 1) if o.out_max_val else index


def descending(x: Tensor, dim: int, count: int) -> tuple[Tensor, Tensor]:
    """The `count` largest values along a dimension and their indices; among equals the larger index comes first."""
    if count == 1:
        index = x.shape[dim] - 1 - x.flip(dim).argmax(dim, keepdim=True)
        return x.gather(dim, index), index
    values, index = x.flip(dim).sort(stable=True, dim=dim, descending=True)
    return values.narrow(dim, 0, count), x.shape[dim] - 1 - index.narrow(dim, 0, count)


@module("Accuracy")
class Accuracy(Labelled):
    """Share of the labels not ignored that are among the top_k scores; a second top has one value per class.

    ties "LAST": among equal scores the largest index comes first; no label that counts gives 0/0. "MISS": every class
    of an equal score comes before the label's; none that counts gives 0."""

    @torch.no_grad()
    def forward(self, scores: Tensor, label: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        o = self.options
        classes = scores.shape[o.axis]
        rows = scores.movedim(o.axis, -1).reshape(-1, classes)
        target, valid = self.labels(label, rows.shape[0], classes, o.ignore_labels)
        if o.ties == "MISS":
            # The label's class counts itself among those not below it.
            among = (rows >= rows.gather(1, target.where(valid, 0).unsqueeze(1))).sum(1) <= o.top_k
        else:
            among = (descending(rows, 1, min(o.top_k, classes))[1] == target.unsqueeze(1)).any(1)
        hit = (among & valid).to(scores.dtype)
        count = self.share.whole_sum(valid.sum())
        total = self.share.whole_sum(hit.sum()) / (count.clamp(min=1) if o.ties == "MISS" else count)
        if len(self.layer.tops) < 2:
            return total
        truth = F.one_hot(target.where(valid, 0), classes).to(scores.dtype) * valid.unsqueeze(1)
        count, hits = self.share.whole_sum(truth.sum(0)), self.share.whole_sum((truth * hit.unsqueeze(1)).sum(0))
        return total, torch.where(count > 0, hits / count.clamp(min=1), 0)


@module("SegAccuracy")
class SegAccuracy(Labelled):
    """Pixel accuracy, mean class recall and mean IoU as three numbers, [1, 1, 1, 3]. Without gradient.

    Recall averages over the classes in the labels, IoU over all classes, an absent one counting 1. Equal scores go to
    the largest class. With reset: false the confusion matrix grows over the life of the layer."""

    confusion: Tensor | None

    def __init__(self, layer: LayerSpec, spec: NetSpec) -> None:
        super().__init__(layer, spec)
        self.register_buffer("confusion", None, persistent=False)

    @torch.no_grad()
    def forward(self, scores: Tensor, label: Tensor) -> Tensor:
        classes = scores.shape[1]
        _, index = descending(scores, 1, 1)
        target, valid = self.labels(label, index.numel(), classes, self.options.ignore_labels)
        pairs = target[valid] * classes + index.reshape(-1)[valid]
        matrix = self.share.whole_sum(torch.bincount(pairs, minlength=classes * classes).reshape(classes, classes))
        if not self.options.reset:
            matrix = self.confusion = matrix if self.confusion is None else self.confusion.to(matrix.device) + matrix
        matrix = matrix.double()
        hit, truth, predicted = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
        union = truth + predicted - hit
        accuracy = hit.sum() / matrix.sum().clamp(min=1)
        recall = torch.where(truth > 0, hit / truth.clamp(min=1), 0).sum() / (truth > 0).sum().clamp(min=1)
        iou = torch.where(union > 0, hit / union.clamp(min=1), 1).mean()
        return torch.stack([accuracy, recall, iou]).to(scores.dtype).reshape(1, 1, 1, 3)
