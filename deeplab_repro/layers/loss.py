"""The losses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from deeplab_repro.layers.base import module
from deeplab_repro.layers.labels import Labelled
from deeplab_repro.layers.shares import BatchLayer, Share
from prototxt_import import LayerSpec, NetSpec, read_mean
from prototxt_import.paths import named_file

FLT_MIN = float(np.finfo(np.float32).tiny)
MAX_WEIGHT_TEXT = 2**20  # characters of a file that holds one number per class
LOG_THRESHOLD = 1e-20  # kLOG_THRESHOLD of the losses that take probabilities


def normalizer(rule: str, weight: Tensor, items: int, share: Share) -> Tensor | int:
    """What a loss over labels is divided by.

    Args:
        rule: Its normalization.
        weight: What each label counts, 0 where ignored.
        items: How many items this share of the batch has.
        share: Of the batch.

    Returns:
        The divisor.
    """
    if rule in ("WEIGHTED", "COUNTED"):
        return share.whole_sum(weight.sum())
    if rule == "VALID":
        return share.whole_sum(weight.sum()).clamp(min=1)
    return max({"FULL": share.whole(weight.numel()), "BATCH_SIZE": share.whole(items), "NONE": 1}[rule], 1)


@module("SoftmaxWithLoss")
class SoftmaxWithLoss(Labelled):
    """-sum of log(max(p[label], FLT_MIN)) over the labels not ignored, divided by Z; a second top holds p.

    Z by normalization: FULL all labels, VALID those not ignored, BATCH_SIZE items, NONE 1, each at least 1. WEIGHTED is
    DeepLab v1's rule: every label counts with its class's weight (1 without weight_source), Z is the sum of those, and
    nothing but ignored labels gives 0/0. COUNTED is SegNet's: VALID that gives 0/0 then; its class_weights multiply the
    terms and do not enter Z. The gradient is (p - onehot) / Z even where p is below FLT_MIN."""

    class_weight: Tensor | None

    def __init__(self, layer: LayerSpec, spec: NetSpec) -> None:
        super().__init__(layer, spec)
        weight = self._class_weights(spec) if self.options.weight_source else None
        if self.options.class_weights is not None:
            weight = torch.tensor(self.options.class_weights)
        self.register_buffer("class_weight", weight, persistent=False)

    def _class_weights(self, spec: NetSpec) -> Tensor:
        name = self.options.weight_source
        try:
            # A net built in code names its files itself; one that was read may not send us anywhere.
            path = named_file(name, spec.source, spec.variables.values()) if spec.source else Path(name)
            with path.open(encoding="ascii") as file:
                text = file.read(MAX_WEIGHT_TEXT)
            return torch.tensor([float(number) for number in text.split()])
        except (OSError, ValueError) as error:
            raise self.fail(f"weight_source {name!r}: {error}") from error

    def forward(self, scores: Tensor, label: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        o = self.options
        axis = o.axis % scores.dim()
        classes = scores.shape[axis]
        rows = scores.movedim(axis, -1).reshape(-1, classes)
        target, valid = self.labels(label, rows.shape[0], classes, o.ignore_labels)
        log_p = F.log_softmax(rows, 1)
        value = -log_p.gather(1, target.where(valid, 0).unsqueeze(1)).squeeze(1)
        # Only the value is held at log(FLT_MIN): the gradient stays (p - onehot).
        value = value + (value.clamp(max=-float(np.log(FLT_MIN))) - value).detach()
        weight = counted = valid.to(value.dtype)
        if self.class_weight is not None:
            if self.class_weight.numel() != classes:
                raise self.fail(f"weight_source has {self.class_weight.numel()} numbers for {classes} classes")
            weight = weight * self.class_weight.to(weight)[target.where(valid, 0)]
        if o.normalization == "WEIGHTED":
            counted = weight
        items = scores.shape[:axis].numel()
        loss = (value * weight).sum() / normalizer(o.normalization, counted, items, self.share)
        return (loss, F.softmax(scores, axis)) if len(self.layer.tops) > 1 else loss


@module("MultinomialLogisticLoss")
class MultinomialLogisticLoss(Labelled):
    """-mean of log(max(p[label], 1e-20)) over the items; the bottom holds probabilities."""

    def forward(self, p: Tensor, label: Tensor) -> Tensor:
        rows = p.flatten(1)
        target, _ = self.labels(label, rows.shape[0], rows.shape[1])
        log_p = rows.gather(1, target.unsqueeze(1)).clamp(min=LOG_THRESHOLD).log()
        return -log_p.sum() / self.share.whole(rows.shape[0])


@module("InfogainLoss")
class InfogainLoss(Labelled):
    """-sum of H[label, j] log(max(p_j, 1e-20)) over positions and classes j; H is the third bottom, or in a file.

    Probabilities: one label an item, divided by the items. Scores: p is their softmax along an axis, one label per
    position, divided as in SoftmaxWithLoss; a second top holds p. Their gradient is (p sum_k H[label, k] - H[label]) /
    Z even where p is below the threshold."""

    matrix: Tensor | None

    def __init__(self, layer: LayerSpec, spec: NetSpec) -> None:
        super().__init__(layer, spec)
        self.register_buffer("matrix", self._stored(spec) if len(layer.bottoms) < 3 else None, persistent=False)

    def _stored(self, spec: NetSpec) -> Tensor:
        name = self.options.source
        try:
            path = named_file(name, spec.source, spec.variables.values()) if spec.source else Path(name)
            return torch.from_numpy(np.array(read_mean(path), dtype=np.float32)).reshape(-1)
        except (OSError, ValueError) as error:
            raise self.fail(f"source {name!r}: {error}") from error

    def _gain(self, matrix: Tensor | None, classes: int, like: Tensor) -> Tensor:
        matrix = self.matrix if matrix is None else matrix.detach()
        assert matrix is not None  # a layer of two bottoms has it from its file
        if matrix.numel() != classes * classes:
            raise self.fail(f"its matrix has {matrix.numel()} numbers for {classes} x {classes} classes")
        return matrix.reshape(classes, classes).to(like)

    def forward(self, x: Tensor, label: Tensor, matrix: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        o = self.options
        if not o.softmax_inside(tuple(x.shape), tuple(label.shape)):
            rows = x.flatten(1)
            target, _ = self.labels(label, rows.shape[0], rows.shape[1])
            gain = self._gain(matrix, rows.shape[1], rows)[target]
            loss = -(gain * rows.clamp(min=LOG_THRESHOLD).log()).sum() / self.share.whole(rows.shape[0])
            return (loss, x) if len(self.layer.tops) > 1 else loss
        axis = o.axis % x.dim()
        classes = x.shape[axis]
        log_p = F.log_softmax(x.movedim(axis, -1).reshape(-1, classes), 1)
        target, valid = self.labels(label, log_p.shape[0], classes, o.ignore_labels)
        # Only the value is held at log(1e-20): the gradient stays that of the softmax.
        log_p = log_p + (log_p.clamp(min=float(np.log(LOG_THRESHOLD))) - log_p).detach()
        counted = valid.to(log_p.dtype)
        gain = self._gain(matrix, classes, log_p)[target.where(valid, 0)] * counted.unsqueeze(1)
        loss = -(gain * log_p).sum() / normalizer(o.normalization, counted, x.shape[:axis].numel(), self.share)
        return (loss, F.softmax(x, axis)) if len(self.layer.tops) > 1 else loss


@module("HingeLoss")
class HingeLoss(Labelled):
    """One-against-all hinge: max(0, 1 + x), 1 - x for the item's class; summed (L1) or squared (L2), over the items."""

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        rows = x.flatten(1)
        target, _ = self.labels(label, rows.shape[0], rows.shape[1])
        sign = 1 - 2 * F.one_hot(target, rows.shape[1]).to(rows.dtype)
        margin = F.relu(1 + sign * rows)
        return (margin * margin if self.options.norm == "L2" else margin).sum() / self.share.whole(rows.shape[0])


@module("EuclideanLoss")
class EuclideanLoss(BatchLayer):
    """Half the sum of squared differences, over the items, or with normalization FULL (v1) over all numbers.

    With square_root (v1's L2sqrt) the root of that mean instead, not halved."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        o = self.options
        difference = a - b.reshape(a.shape)
        items = a.numel() if o.normalization == "FULL" else a.shape[0]
        mean = (difference * difference).sum() / self.share.whole(items)
        if o.square_root and self.share.count > 1:
            raise self.fail("the root over a batch cannot be taken share by share; train it in one process")
        return _RootLoss.apply(mean) if o.square_root else mean / 2


class _RootLoss(torch.autograd.Function):
    """Square root whose gradient divides by at least 1e-6, as the v1 fork's loss of type L2sqrt does."""

    @staticmethod
    def forward(ctx, square: Tensor) -> Tensor:
        root = square.sqrt()
        ctx.save_for_backward(root)
        return root

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> Tensor:
        (root,) = ctx.saved_tensors
        return grad / (2 * root.clamp(min=1e-6))


@module("SigmoidCrossEntropyLoss")
class SigmoidCrossEntropyLoss(BatchLayer):
    """Cross entropy of sigmoid(x) and targets in [0, 1], summed over those not ignored, divided as in SoftmaxWithLoss.

    A second top holds sigmoid(x). balanced: HED's loss, over the items."""

    def forward(self, x: Tensor, target: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        target = target.detach().reshape(x.shape).to(x.dtype)
        if self.options.balanced:
            loss = balanced_cross_entropy(x, target) / self.share.whole(x.shape[0])
            return (loss, torch.sigmoid(x)) if len(self.layer.tops) > 1 else loss
        valid = torch.ones_like(target)
        for value in self.options.ignore_labels:
            valid = valid * (target.to(torch.int64) != value)
        value = F.binary_cross_entropy_with_logits(x, target, weight=valid, reduction="sum")
        loss = value / normalizer(self.options.normalization, valid, x.shape[0], self.share)
        return (loss, torch.sigmoid(x)) if len(self.layer.tops) > 1 else loss


def balanced_cross_entropy(x: Tensor, target: Tensor) -> Tensor:
    """HED's loss: sigmoid cross entropy in which each class weighs as much as the other has positions.

    Of P targets equal to 1 and Q equal to 0 the former count Q / (P + Q), the latter P / (P + Q); NaN where there are
    neither. Other targets count in none of this, but send back the plain gradient sigmoid(x) - t, as in the fork.

    Args:
        x: Scores [N, ...].
        target: Numbers of the same shape.

    Returns:
        The sum over the items.
    """
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


@module("ContrastiveLoss")
class ContrastiveLoss(BatchLayer):
    """Over pairs at distance d, half the mean of d^2 (similar) or max(0, margin - d)^2 (not similar).

    With legacy_version, always in v1, dissimilar pairs count max(0, margin - d^2)."""

    def forward(self, a: Tensor, b: Tensor, similar: Tensor) -> Tensor:
        o = self.options
        square = ((a - b) ** 2).flatten(1).sum(1)
        gap = F.relu(o.margin - (square if o.legacy_version else _Distance.apply(square)))
        apart = gap if o.legacy_version else gap**2
        pairs = torch.where(similar.detach().reshape(-1).to(torch.int64) != 0, square, apart)
        return pairs.sum() / (2 * self.share.whole(a.shape[0]))


class _Distance(torch.autograd.Function):
    """Square root whose gradient divides by (d + 1e-4), as Caffe's ContrastiveLoss does to survive d = 0."""

    @staticmethod
    def forward(ctx, square: Tensor) -> Tensor:
        distance = square.sqrt()
        ctx.save_for_backward(distance)
        return distance

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> Tensor:
        (distance,) = ctx.saved_tensors
        return grad / (2 * (distance + 1e-4))
