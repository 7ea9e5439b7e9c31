"""The losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prototxt_import.layers.base import Context, Options
from prototxt_import.layers.labels import ignored, labels_fit, one_label_an_item, put_ignored
from prototxt_import.layers.messages import plain, put
from prototxt_import.layers.shapes import canonical, count
from prototxt_import.layers.table import register
from prototxt_import.values import Shape

# Forks whose SigmoidCrossEntropyLoss reads no loss_param: sum / N, whatever it says.
_PLAIN_SIGMOID_LOSS = ("v1", "v2", "x2")
_NORMALIZATIONS = ("FULL", "VALID", "BATCH_SIZE", "NONE")


def _normalization(source: Any, default: str) -> str:
    if source.HasField("normalization"):
        return str(plain(source, "normalization"))
    if source.HasField("normalize"):
        return "VALID" if source.normalize else "BATCH_SIZE"
    return default


@register(
    "SoftmaxWithLoss",
    field="softmax_param",
    v1="SOFTMAX_LOSS",
    v0=("softmax_loss",),
    bottoms=(2, 2),
    tops=(0, 2),
    loss=True,
    class_loss=True,
)
@dataclass(frozen=True)
class SoftmaxWithLossOptions(Options):
    """Mean negative log likelihood of labels over positions whose label is not ignored.

    normalization: "FULL", "VALID", "BATCH_SIZE" or "NONE" divide by at least 1; "WEIGHTED" is the v1 fork's rule, the
    sum of the class weights of the counted positions (weight_source: a file with one number per class, else all 1);
    "COUNTED" is SegNet's VALID, which divides by 0 where nothing counts.
    class_weights: SegNet's, one per class or none; they do not enter what is divided by."""

    axis: int = 1
    ignore_labels: tuple[int, ...] = ()
    normalization: str = "VALID"
    weight_source: str = ""
    class_weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.normalization not in (*_NORMALIZATIONS, "WEIGHTED", "COUNTED"):
            raise ValueError(f"normalization is {self.normalization!r}; known are {', '.join(_NORMALIZATIONS)}")

    @classmethod
    def parse(cls, message: Any, context: Context) -> SoftmaxWithLossOptions:
        axis = message.softmax_param.axis
        if message.HasField("softmaxloss_param"):
            source = message.softmaxloss_param
            return cls(axis, tuple(source.ignore_label), "WEIGHTED", source.weight_source)
        source = message.loss_param
        if source.weight_by_label_freqs or context.dialect in ("segnet", "enet"):
            # There `normalize` alone decides, true unless given.
            rule = "BATCH_SIZE" if source.HasField("normalize") and not source.normalize else "COUNTED"
            weights = plain(source, "class_weighting") if source.weight_by_label_freqs else None
            return cls(axis, ignored(source), rule, class_weights=weights)
        return cls(axis, ignored(source), _normalization(source, "VALID"))

    def emit(self, message: Any, dialect: str) -> None:
        put(message, "softmax_param", "axis", self.axis)
        if self.class_weights is not None:
            loss = message.DESCRIPTOR.fields_by_name.get("loss_param")  # v1 has none
            if loss is None or "class_weighting" not in loss.message_type.fields_by_name:
                raise ValueError("this dialect has no class weights in loss_param")
            message.loss_param.weight_by_label_freqs = True
            message.loss_param.class_weighting.extend(self.class_weights)
        if self.class_weights is not None or dialect in ("segnet", "enet"):
            if self.normalization not in ("COUNTED", "BATCH_SIZE"):
                raise ValueError(f"the {dialect} dialect has no normalization {self.normalization}")
            put_ignored(message, "loss_param", self.ignore_labels)
            if self.normalization == "BATCH_SIZE":
                message.loss_param.normalize = False
            return
        if dialect == "v1":
            if self.normalization not in ("VALID", "WEIGHTED"):
                raise ValueError(f"the v1 dialect has no normalization {self.normalization}")
            if self.normalization == "WEIGHTED" or self.ignore_labels:
                message.softmaxloss_param.SetInParent()
                message.softmaxloss_param.ignore_label.extend(self.ignore_labels)
                put(message, "softmaxloss_param", "weight_source", self.weight_source)
            return
        if self.weight_source:
            raise ValueError("class weights (weight_source) exist in the v1 dialect only")
        put_ignored(message, "loss_param", self.ignore_labels)
        # Without weights these rules and VALID differ only where every position is ignored (0 / 0 there, 0 here).
        if self.normalization not in ("WEIGHTED", "COUNTED"):
            put(message, "loss_param", "normalization", self.normalization)

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        labels_fit(bottoms, self.axis)
        classes = bottoms[0][canonical(self.axis, bottoms[0])]
        if self.class_weights is not None and len(self.class_weights) != classes:
            raise ValueError(f"class_weighting has {len(self.class_weights)} numbers for {classes} classes")
        return ((), bottoms[0])[: max(tops, 1)]


@register("EuclideanLoss", v1="EUCLIDEAN_LOSS", v0=("euclidean_loss",), bottoms=(2, 2), tops=(0, 1), loss=True)
@dataclass(frozen=True)
class EuclideanLossOptions(Options):
    """Half the sum of squared differences over N ("BATCH_SIZE") or, in the v1 fork, over all numbers ("FULL").

    square_root (the fork's L2sqrt): the root of the mean square instead, not halved."""

    normalization: str = "BATCH_SIZE"
    square_root: bool = False

    @classmethod
    def parse(cls, message: Any, context: Context) -> EuclideanLossOptions:
        root = plain(message.euclidean_loss_param, "type") == "L2sqrt"
        return cls("FULL" if context.dialect == "v1" or root else "BATCH_SIZE", root)

    def emit(self, message: Any, dialect: str) -> None:
        if (self.normalization == "FULL") != (dialect == "v1"):
            raise ValueError(f"the {dialect} dialect has no EuclideanLoss normalised by {self.normalization}")
        if self.square_root:
            put(message, "euclidean_loss_param", "type", "L2sqrt")

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        one_label_an_item(bottoms, least=1, label=len(bottoms))
        if bottoms[0][:1] != bottoms[1][:1] or count(bottoms[0]) != count(bottoms[1]):
            raise ValueError(f"bottoms {list(bottoms[0])} and {list(bottoms[1])} must be of one size")
        return ((),)


@register(
    "SigmoidCrossEntropyLoss",
    field="loss_param",
    v1="SIGMOID_CROSS_ENTROPY_LOSS",
    bottoms=(2, 2),
    tops=(0, 2),
    loss=True,
)
@dataclass(frozen=True)
class SigmoidCrossEntropyLossOptions(Options):
    """balanced: HED's loss of that name, in which each class weighs as much as the other holds positions."""

    ignore_labels: tuple[int, ...] = ()
    normalization: str = "BATCH_SIZE"
    balanced: bool = False

    def rule(self) -> str:
        return "balanced" if self.balanced else "plain"

    @classmethod
    def parse(cls, message: Any, context: Context) -> SigmoidCrossEntropyLossOptions:
        if context.rule not in ("", "plain", "balanced"):
            raise ValueError(f"the rule {context.rule!r} in the file's comment is neither plain nor balanced")
        if context.rule == "balanced" or (context.dialect == "hed" and not context.rule):
            # The fork's layer reads no parameters.
            return cls(balanced=True)
        if context.dialect in _PLAIN_SIGMOID_LOSS:
            return cls()
        return cls(ignored(message.loss_param), _normalization(message.loss_param, "BATCH_SIZE"))

    def emit(self, message: Any, dialect: str) -> None:
        if self.balanced:
            return
        if dialect in _PLAIN_SIGMOID_LOSS:
            if self != SigmoidCrossEntropyLossOptions():
                raise ValueError(f"the {dialect} dialect has neither ignore_label nor normalization here")
            return
        put_ignored(message, "loss_param", self.ignore_labels)
        if self.normalization != "BATCH_SIZE":
            message.loss_param.normalization = message.loss_param.NormalizationMode.Value(self.normalization)

    def other_meaning(self, dialect: str) -> str:
        if self.balanced:
            return ": HED's balanced loss, for the net aligns its Crop; --dialect bvlc takes the plain one"
        return ": every position counts alike, as in BVLC; --dialect hed takes HED's balanced loss"

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        one_label_an_item(bottoms, least=1, label=len(bottoms))
        if count(bottoms[0]) != count(bottoms[1]):
            raise ValueError(f"bottoms {list(bottoms[0])} and {list(bottoms[1])} must be of one size")
        if self.balanced and not bottoms[0]:
            raise ValueError("needs a bottom with items on axis 0, got []")
        return ((), bottoms[0])[: max(tops, 1)]


@register("HingeLoss", field="hinge_loss_param", v1="HINGE_LOSS", bottoms=(2, 2), tops=(0, 1), loss=True)
@dataclass(frozen=True)
class HingeLossOptions(Options):
    """The one-vs-all hinge loss; norm is "L1" or "L2". Source: Caffe's hinge_loss_layer.cpp."""

    norm: str = "L1"

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        one_label_an_item(bottoms)
        return ((),)


@register(
    "MultinomialLogisticLoss",
    v1="MULTINOMIAL_LOGISTIC_LOSS",
    v0=("multinomial_logistic_loss",),
    bottoms=(2, 2),
    tops=(0, 1),
    loss=True,
)
@dataclass(frozen=True)
class MultinomialLogisticLossOptions(Options):
    """-log of the label's probability, of probabilities; no options.

    Source: Caffe's multinomial_logistic_loss_layer.cpp.
    """

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        one_label_an_item(bottoms)
        return ((),)


@register(
    "InfogainLoss",
    field="infogain_loss_param",
    v1="INFOGAIN_LOSS",
    v0=("infogain_loss",),
    bottoms=(2, 3),
    tops=(0, 2),
    loss=True,
)
@dataclass(frozen=True)
class InfogainLossOptions(Options):
    """source: a BlobProto file with the matrix, empty where it comes as third bottom.

    takes "probabilities" (N, C, ...): one label an item, mean over the items. takes "scores" (BVLC's since 2017): a
    softmax over `axis` lies inside, one label per position of the other axes, ignore_label and normalization count.
    "": scores where the labels are not one an item."""

    source: str = ""
    axis: int = 1
    takes: str = "probabilities"
    ignore_labels: tuple[int, ...] = ()
    normalization: str = "VALID"

    def __post_init__(self) -> None:
        if self.takes not in ("probabilities", "scores", ""):
            raise ValueError(f"takes is {self.takes!r}; known are probabilities and scores")

    @classmethod
    def parse(cls, message: Any, context: Context) -> InfogainLossOptions:
        source, loss = message.infogain_loss_param, message.loss_param
        if context.bottoms < 3 and not source.HasField("source"):
            raise ValueError("needs its matrix: a third bottom, or infogain_loss_param { source: a BlobProto file }")
        for_scores = source.HasField("axis") or message.HasField("loss_param")
        if context.rule:
            takes = context.rule
        elif context.asked and context.dialect == "bvlc":
            takes = "scores"
        elif context.dialect in ("bvlc", "x2", "crfrnn"):
            takes = "scores" if for_scores else ""
        else:
            takes = "probabilities"
        if takes == "probabilities":
            return cls(source.source)
        if loss.HasField("normalize"):
            raise ValueError("normalize in loss_param is refused by Caffe here; give normalization")
        return cls(source.source, source.axis, takes, ignored(loss), _normalization(loss, "VALID"))

    def rule(self) -> str:
        return self.takes

    def softmax_inside(self, bottom: Shape, labels: Shape) -> bool:
        """Whether the first bottom holds scores.

        Args:
            bottom: Shape of the first bottom.
            labels: Shape of the labels.

        Returns:
            The answer.
        """
        return self.takes == "scores" or (not self.takes and count(labels) != count(bottom[:1]))

    def emit(self, message: Any, dialect: str) -> None:
        put(message, "infogain_loss_param", "source", self.source)
        if self.takes != "scores":
            return
        if dialect == "v1":
            raise ValueError("the v1 dialect's InfogainLoss takes probabilities")
        # Always written: it tells this loss from the older one of the same name.
        message.infogain_loss_param.axis = self.axis
        put_ignored(message, "loss_param", self.ignore_labels)
        put(message, "loss_param", "normalization", self.normalization)

    def other_meaning(self, dialect: str) -> str:
        if dialect not in ("bvlc", "x2", "crfrnn"):
            return ""
        taken = {
            "scores": "scores, a softmax inside, for axis or loss_param is given; --dialect v2 takes probabilities",
            "probabilities": "probabilities, for a Softmax comes before; --dialect bvlc takes scores",
            "": "probabilities where there is one label an item, else scores; --dialect v2 or bvlc decides",
        }
        return f": takes {taken[self.takes]}"

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        scores = bottoms[0]
        if self.softmax_inside(*bottoms[:2]):
            labels_fit(bottoms, self.axis)
            classes = scores[canonical(self.axis, scores)]
        else:
            if not scores or count(bottoms[1]) != scores[0]:
                raise ValueError(f"labels {list(bottoms[1])} do not give one number for each item of {list(scores)}")
            classes = count(scores[1:])
        if len(bottoms) > 2 and count(bottoms[2]) != classes * classes:
            raise ValueError(
                f"the matrix {list(bottoms[2])} has not {classes} x {classes} numbers, one for two classes"
            )
        return ((), scores)[: max(tops, 1)]


@register(
    "ContrastiveLoss", field="contrastive_loss_param", v1="CONTRASTIVE_LOSS", bottoms=(3, 3), tops=(0, 1), loss=True
)
@dataclass(frozen=True)
class ContrastiveLossOptions(Options):
    """legacy_version: dissimilar pairs count max(0, margin - d^2); always so in the v1 fork."""

    margin: float = 1.0
    legacy_version: bool = False

    @classmethod
    def parse(cls, message: Any, context: Context) -> ContrastiveLossOptions:
        source = message.contrastive_loss_param
        return cls(plain(source, "margin"), source.legacy_version or context.dialect == "v1")

    def emit(self, message: Any, dialect: str) -> None:
        put(message, "contrastive_loss_param", "margin", self.margin)
        if dialect != "v1":
            put(message, "contrastive_loss_param", "legacy_version", self.legacy_version)

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        if bottoms[0] != bottoms[1]:
            raise ValueError(f"bottoms {list(bottoms[0])} and {list(bottoms[1])} must be of one shape")
        one_label_an_item(bottoms, label=2)
        return ((),)
