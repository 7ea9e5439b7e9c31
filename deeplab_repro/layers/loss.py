"""Softmax, the losses, and what scores or ranks predictions.

Labels are float blobs, cut down to integers as Caffe's casts do."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from deeplab_repro.layers.base import CaffeLayer, module
from deeplab_repro.layers.hed import balanced_cross_entropy
from deeplab_repro.layers.shares import BatchLayer, Share
from prototxt_import import LayerSpec, NetSpec, read_mean
from prototxt_import.paths import named_file

FLT_MIN = float(np.finfo(np.float32).tiny)
MAX_WEIGHT_TEXT = 2**20  # characters of a file that holds one number per class
LOG_THRESHOLD = 1e-20  # kLOG_THRESHOLD of the losses that take probabilities


def descending(x: Tensor, dim: int, count: int) -> tuple[Tensor, Tensor]:
    """The `count` largest values along a dimension and their indices; among equals the larger index comes first."""
    if count == 1:
        index = x.shape[dim] - 1 - x.flip(dim).argmax(dim, keepdim=True)
        return x.gather(dim, index), index
    values, index = x.flip(dim).sort(stable=True, dim=dim, descending=True)
    return values.narrow(dim, 0, count), x.shape[dim] - 1 - index.narrow(dim, 0, count)


def normalizer(rule: str, weight: Tensor, items: int, share: Share) -> Tensor | int:
    """What a loss over labels that count `weight` each (0 where ignored) is divided by."""
    if rule in ("WEIGHTED", "COUNTED"):
        return share.whole_sum(weight.sum())
    if rule == "VALID":
        return share.whole_sum(weight.sum()).clamp(min=1)
    return max({"FULL": share.whole(weight.numel()), "BATCH_SIZE": share.whole(items), "NONE": 1}[rule], 1)


class _Labelled(BatchLayer):
    """A layer that compares scores with integer labels."""

    @torch.compiler.disable  # looks at values, which a compiled graph cannot
    def labels(self, blob: Tensor, count: int, classes: int, ignored: Iterable[int] = ()) -> tuple[Tensor, Tensor]:
        """The label blob as `count` integers, and which of them are not ignored.

        Raises ValueError where the number of labels differs or one that counts is no class."""
        label = blob.detach().reshape(-1).to(torch.int64)
        if label.numel() != count:
            raise self.fail(f"{label.numel()} labels for {count} predictions")
        valid = torch.ones_like(label, dtype=torch.bool)
        for value in ignored:
            valid &= label != value
        outside = valid & ((label < 0) | (label >= classes))
        if bool(outside.any()):
            bad = int(label[outside][0])
            raise self.fail(
                f"label {bad} is neither a class (0 to {classes - 1}) nor ignored; `deeplab doctor` finds the files"
            )
        return label, valid


@module("Softmax")
class Softmax(CaffeLayer):
    """Softmax along an axis."""

    def forward(self, x: Tensor) -> Tensor:
        return F.softmax(x, self.options.axis)


@module("SoftmaxWithLoss")
class SoftmaxWithLoss(_Labelled):
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
class MultinomialLogisticLoss(_Labelled):
    """-mean of log(max(p[label], 1e-20)) over the items; the bottom holds probabilities."""

    def forward(self, p: Tensor, label: Tensor) -> Tensor:
        rows = p.flatten(1)
        target, _ = self.labels(label, rows.shape[0], rows.shape[1])
        log_p = rows.gather(1, target.unsqueeze(1)).clamp(min=LOG_THRESHOLD).log()
        return -log_p.sum() / self.share.whole(rows.shape[0])


@module("InfogainLoss")
class InfogainLoss(_Labelled):
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
class HingeLoss(_Labelled):
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

    A second top holds sigmoid(x). balanced: HED's loss, over the items (see hed)."""

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
        rows = x if o.per_pixel else x.reshape(x.shape[0], 1, -1)
        values, index = descending(rows, 1 if o.per_pixel else 2, o.top_k)
        index = index.to(x.dtype)
        return torch.cat([index, values], 1) if o.out_max_val else index


@module("Accuracy")
class Accuracy(_Labelled):
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
            found = (rows >= rows.gather(1, target.where(valid, 0).unsqueeze(1))).sum(1) <= o.top_k
        else:
            found = (descending(rows, 1, min(o.top_k, classes))[1] == target.unsqueeze(1)).any(1)
        hit = (found & valid).to(scores.dtype)
        count = self.share.whole_sum(valid.sum())
        total = self.share.whole_sum(hit.sum()) / (count.clamp(min=1) if o.ties == "MISS" else count)
        if len(self.layer.tops) < 2:
            return total
        truth = F.one_hot(target.where(valid, 0), classes).to(scores.dtype) * valid.unsqueeze(1)
        count, hits = self.share.whole_sum(truth.sum(0)), self.share.whole_sum((truth * hit.unsqueeze(1)).sum(0))
        return total, torch.where(count > 0, hits / count.clamp(min=1), 0)


@module("SegAccuracy")
class SegAccuracy(_Labelled):
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
        hit, truth, found = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
        union = truth + found - hit
        accuracy = hit.sum() / matrix.sum().clamp(min=1)
        recall = torch.where(truth > 0, hit / truth.clamp(min=1), 0).sum() / (truth > 0).sum().clamp(min=1)
        iou = torch.where(union > 0, hit / union.clamp(min=1), 1).mean()
        return torch.stack([accuracy, recall, iou]).to(scores.dtype).reshape(1, 1, 1, 3)
