"""What makes answers of scores (Softmax, ArgMax), and what judges scores by labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prototxt_import.layers.base import Context, Options
from prototxt_import.layers.labels import ignored, labels_fit, one_label_an_item, put_ignored
from prototxt_import.layers.messages import put
from prototxt_import.layers.shapes import HERE, Reach, across_channels, canonical, count, spatial
from prototxt_import.layers.table import register
from prototxt_import.values import Shape


@register(
    "Softmax", field="softmax_param", v1="SOFTMAX", v0=("softmax",), pointwise=True, decides=True, keeps_place=True
)
@dataclass(frozen=True)
class SoftmaxOptions(Options):
    """The softmax along an axis. Source: Caffe's softmax_layer.cpp."""

    axis: int = 1

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        canonical(self.axis, bottoms[0])
        return (bottoms[0],)

    def reach(self, bottom: Shape, top: Shape) -> tuple[Reach, Reach] | None:
        return across_channels(self.axis)


@register("ArgMax", field="argmax_param", v1="ARGMAX", pointwise=True, decides=True)
@dataclass(frozen=True)
class ArgMaxOptions(Options):
    """Indices of the top_k largest (and their values under out_max_val): along `axis`, per pixel over the channels
    (per_pixel, the v1 fork's rule), or over everything behind axis 0 (axis None)."""

    top_k: int = 1
    out_max_val: bool = False
    axis: int | None = None
    per_pixel: bool = False

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise ValueError(f"top_k is {self.top_k}; it must be at least 1")

    @classmethod
    def parse(cls, message: Any, context: Context) -> ArgMaxOptions:
        source = message.argmax_param
        axis = source.axis if source.HasField("axis") else None
        return cls(source.top_k, source.out_max_val, axis, context.dialect == "v1" and axis is None)

    def emit(self, message: Any, dialect: str) -> None:
        put(message, "argmax_param", "top_k", self.top_k)
        put(message, "argmax_param", "out_max_val", self.out_max_val)
        if dialect == "v1":
            # Without values the fork's rule is what axis 1 gives elsewhere.
            if not self.per_pixel and (self.axis != 1 or self.out_max_val):
                raise ValueError("the v1 dialect ranks the channels of each pixel only")
        elif self.per_pixel:
            if self.out_max_val:
                raise ValueError("indices and values per pixel together exist in the v1 dialect only")
            message.argmax_param.axis = 1
        elif self.axis is not None:
            message.argmax_param.axis = self.axis

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        shape = bottoms[0]
        if self.per_pixel:
            n, c, h, w = spatial(shape)
            self._fits(c)
            return ((n, self.top_k * (1 + self.out_max_val), h, w),)
        if self.axis is None:
            one_label_an_item(bottoms, least=1, label=len(bottoms))
            self._fits(count(shape[1:]))
            return ((*shape[:1], 1 + self.out_max_val, self.top_k),)
        axis = canonical(self.axis, shape)
        self._fits(shape[axis])
        return ((*shape[:axis], self.top_k, *shape[axis + 1 :]),)

    def reach(self, bottom: Shape, top: Shape) -> tuple[Reach, Reach] | None:
        return (HERE, HERE) if self.per_pixel else None if self.axis is None else across_channels(self.axis)

    def per_position(self, flat: bool) -> ArgMaxOptions | None:
        if self.per_pixel:
            return self
        return dataclasses.replace(self, axis=1) if flat or self.axis == 1 else None

    def _fits(self, size: int) -> None:
        if self.top_k > size:
            raise ValueError(f"top_k is {self.top_k}, but there are only {size} values to rank")


@register("Accuracy", field="accuracy_param", v1="ACCURACY", v0=("accuracy",), bottoms=(2, 2), tops=(1, 2), scorer=True)
@dataclass(frozen=True)
class AccuracyOptions(Options):
    """Share of positions whose label is among the top_k scores; a second top gives it per class.

    ties "LAST": of equal scores the largest index comes first, and nothing counted gives 0/0. "MISS" (BVLC's since
    2017): a class of an equal score stands before the label's, and nothing counted gives 0."""

    top_k: int = 1
    axis: int = 1
    ignore_labels: tuple[int, ...] = ()
    ties: str = "LAST"

    def __post_init__(self) -> None:
        if self.ties not in ("LAST", "MISS"):
            raise ValueError(f"ties is {self.ties!r}; known are LAST and MISS")

    def rule(self) -> str:
        return self.ties

    @classmethod
    def parse(cls, message: Any, context: Context) -> AccuracyOptions:
        source = message.accuracy_param
        late = context.asked and context.dialect == "bvlc"
        return cls(source.top_k, source.axis, ignored(source), context.rule or ("MISS" if late else "LAST"))

    def other_meaning(self, dialect: str) -> str:
        if dialect not in ("bvlc", "x2"):
            return ""
        return ": of equal scores the largest index wins; --dialect bvlc counts ties as wrong, as BVLC since 2017"

    def emit(self, message: Any, dialect: str) -> None:
        put(message, "accuracy_param", "top_k", self.top_k)
        put(message, "accuracy_param", "axis", self.axis)
        put_ignored(message, "accuracy_param", self.ignore_labels)

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        labels_fit(bottoms, self.axis)
        classes = bottoms[0][canonical(self.axis, bottoms[0])]
        if self.top_k > classes:
            raise ValueError(f"top_k is {self.top_k}, but there are only {classes} classes")
        return ((), (classes,))[:tops]


@register("SegAccuracy", field="seg_accuracy_param", v1="SEG_ACCURACY", bottoms=(2, 2), scorer=True, only_in="forks")
@dataclass(frozen=True)
class SegAccuracyOptions(Options):
    """Pixel accuracy, mean class recall and mean IoU as (1, 1, 1, 3); reset: counted anew at every pass."""

    ignore_labels: tuple[int, ...] = ()
    reset: bool = True

    @classmethod
    def parse(cls, message: Any, context: Context) -> SegAccuracyOptions:
        source = message.seg_accuracy_param
        return cls(tuple(source.ignore_label), source.reset or context.dialect == "v1")

    def emit(self, message: Any, dialect: str) -> None:
        message.seg_accuracy_param.ignore_label.extend(self.ignore_labels)
        if dialect == "v1" and not self.reset:
            raise ValueError("the v1 dialect always resets its counts")
        if dialect != "v1":
            put(message, "seg_accuracy_param", "reset", self.reset)

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        n, _, h, w = spatial(bottoms[0])
        if bottoms[1] != (n, 1, h, w):
            raise ValueError(f"labels must be [{n}, 1, {h}, {w}], got {list(bottoms[1])}")
        return ((1, 1, 1, 3),)
