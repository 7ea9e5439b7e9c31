"""The forks' own layers around dense random fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prototxt_import.layers.base import Context, Options
from prototxt_import.layers.messages import plain, put
from prototxt_import.layers.shapes import HERE, Reach, spatial
from prototxt_import.layers.table import register
from prototxt_import.values import Shape

_FIELDS = {
    "pos_xy_stds": "pos_xy_std",
    "pos_weights": "pos_w",
    "bi_xy_stds": "bi_xy_std",
    "bi_rgb_stds": "bi_rgb_std",
    "bi_weights": "bi_w",
}


@register("DenseCRF", field="dense_crf_param", v1="DENSE_CRF", bottoms=(3, 3), decides=True, only_in="forks")
@dataclass(frozen=True)
class DenseCRFOptions(Options):
    """Mean field on scores (N, C, H, W), real sizes (N, 1, 1, 2) and a mean-free BGR image (N, 3, H, W).

    One position kernel per pos_ entry, one bilateral kernel per bi_ entry. unary "softmax" (v1): -log softmax of the
    scores, "score" (v2): the negative scores."""

    max_iter: int = 10
    pos_xy_stds: tuple[float, ...] = ()
    pos_weights: tuple[float, ...] = ()
    bi_xy_stds: tuple[float, ...] = ()
    bi_rgb_stds: tuple[float, ...] = ()
    bi_weights: tuple[float, ...] = ()
    output_probability: bool = True
    unary: str = "score"

    def __post_init__(self) -> None:
        if self.max_iter < 0:
            raise ValueError(f"max_iter is {self.max_iter}; it must be at least 0")
        if len(self.pos_xy_stds) != len(self.pos_weights):
            raise ValueError(f"{len(self.pos_xy_stds)} pos_xy_std for {len(self.pos_weights)} pos_w")
        if not len(self.bi_xy_stds) == len(self.bi_rgb_stds) == len(self.bi_weights):
            raise ValueError("bi_xy_std, bi_rgb_std and bi_w must be of one length")
        if any(std <= 0 for std in (*self.pos_xy_stds, *self.bi_xy_stds, *self.bi_rgb_stds)):
            raise ValueError("every std must be above 0")

    @classmethod
    def parse(cls, message: Any, context: Context) -> DenseCRFOptions:
        source = message.dense_crf_param
        return cls(
            max_iter=source.max_iter,
            output_probability=source.output_probability,
            unary="softmax" if context.dialect == "v1" else "score",
            **{ours: plain(source, theirs) for ours, theirs in _FIELDS.items()},
        )

    def emit(self, message: Any, dialect: str) -> None:
        put(message, "dense_crf_param", "max_iter", self.max_iter)
        for ours, theirs in _FIELDS.items():
            put(message, "dense_crf_param", theirs, getattr(self, ours))
        put(message, "dense_crf_param", "output_probability", self.output_probability)

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        n, _, h, w = spatial(bottoms[0])
        if bottoms[1] != (n, 1, 1, 2):
            raise ValueError(f"second bottom must hold the real sizes, [{n}, 1, 1, 2], got {list(bottoms[1])}")
        if bottoms[2] != (n, 3, h, w):
            raise ValueError(f"third bottom must be the image, [{n}, 3, {h}, {w}], got {list(bottoms[2])}")
        return (bottoms[0],)


def _check_labels(bottoms: Sequence[Shape], per_pixel: bool = False) -> None:
    n, channels, h, w = spatial(bottoms[0])
    labels = spatial(bottoms[1])
    wanted = (n, 1, h, w) if per_pixel else (n, labels[1], 1, 1)
    if labels != wanted or channels < 2:
        asked = f"[{n}, 1, {h}, {w}]" if per_pixel else f"[{n}, any number, 1, 1]"
        raise ValueError(
            f"labels must have the shape {asked}, got {list(bottoms[1])}, for scores of two channels or more"
        )


@register("BiasChannel", field="bias_channel_param", v1="BIAS_CHANNEL", bottoms=(2, 2), only_in="forks")
@dataclass(frozen=True)
class BiasChannelOptions(Options):
    """Scores (N, C, H, W) raised on the channels that labels name, -1 and ignore_label aside.

    label_type "IMAGE": a list per item (N, any, 1, 1); each entry raises its channel by fg_bias, channel 0 by bg_bias.
    "PIXEL": a map (N, 1, H, W); each pixel's channel rises by fg_bias; with a background_label (None: there is none)
    that channel rises by bg_bias at every labelled pixel, and by nothing else."""

    bg_bias: float = 1.0
    fg_bias: float = 2.0
    ignore_label: tuple[int, ...] = ()
    label_type: str = "IMAGE"
    background_label: int | None = None

    def __post_init__(self) -> None:
        if self.label_type not in ("IMAGE", "PIXEL"):
            raise ValueError(f"label_type is {self.label_type!r}; known are IMAGE and PIXEL")
        if min(self.bg_bias, self.fg_bias) < 0:
            raise ValueError(f"bg_bias {self.bg_bias} and fg_bias {self.fg_bias} must not be negative")

    @classmethod
    def parse(cls, message: Any, context: Context) -> BiasChannelOptions:
        source = message.bias_channel_param
        label_type = plain(source, "label_type")
        # Giving bg_bias alone declares channel background_label (default 0) the background, too.
        with_background = source.HasField("background_label") or source.HasField("bg_bias")
        return cls(
            plain(source, "bg_bias"),
            plain(source, "fg_bias"),
            tuple(source.ignore_label),
            label_type,
            source.background_label if with_background and label_type == "PIXEL" else None,
        )

    def emit(self, message: Any, dialect: str) -> None:
        for name in ("bg_bias", "fg_bias", "ignore_label", "label_type"):
            put(message, "bias_channel_param", name, getattr(self, name))
        if self.background_label is not None:
            message.bias_channel_param.background_label = self.background_label

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        _check_labels(bottoms, self.label_type == "PIXEL")
        if self.background_label is not None and not 0 <= self.background_label < bottoms[0][1]:
            raise ValueError(f"background_label {self.background_label} is none of {bottoms[0][1]} channels")
        return (bottoms[0],)

    def reach(self, bottom: Shape, top: Shape) -> tuple[Reach, Reach] | None:
        return HERE, HERE


@register(
    "AdaptiveBiasChannel",
    field="adaptive_bias_channel_param",
    v1="ADAPTIVE_BIAS_CHANNEL",
    bottoms=(2, 2),
    only_in="forks",
)
@dataclass(frozen=True)
class AdaptiveBiasChannelOptions(Options):
    """Scores raised, channel by channel, until each label of the item's list covers its portion of the pixels.

    suppress_others: channels that are not listed first fall margin_others below the least of the listed ones."""

    num_iter: int = 1
    bg_portion: float = 0.2
    fg_portion: float = 0.2
    suppress_others: bool = True
    margin_others: float = 1e-5

    def __post_init__(self) -> None:
        if self.num_iter < 1:
            raise ValueError(f"num_iter is {self.num_iter}; it must be at least 1")
        if not (0 <= self.bg_portion <= 1 and 0 <= self.fg_portion <= 1):
            raise ValueError(f"bg_portion {self.bg_portion} and fg_portion {self.fg_portion} must be in [0, 1]")
        if self.margin_others < 0:
            raise ValueError(f"margin_others is {self.margin_others}; it must not be negative")

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        _check_labels(bottoms)
        return (bottoms[0],)


@register("UniqueLabel", field="unique_label_param", v1="UNIQUE_LABEL", only_in="forks")
@dataclass(frozen=True)
class UniqueLabelOptions(Options):
    """The distinct labels of each item, ascending, filled with -1 up to max_labels: (N, max_labels, 1, 1)."""

    max_labels: int = 0
    ignore_label: tuple[int, ...] = ()
    force_label: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.max_labels < 1:
            raise ValueError(f"max_labels is {self.max_labels}; it must be at least 1")

    @classmethod
    def parse(cls, message: Any, context: Context) -> UniqueLabelOptions:
        # Label lists are floating point in some dialects; labels are whole numbers in all of them.
        source = message.unique_label_param
        lists = (source.ignore_label, source.force_label)
        if any(value != int(value) for values in lists for value in values):
            raise ValueError("labels must be whole numbers")
        return cls(source.max_labels, *(tuple(int(value) for value in values) for values in lists))

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        return ((bottoms[0][0], self.max_labels, 1, 1),)
