"""BatchNorm, Scale, Bias, LRN, MVN."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from prototxt_import.layers.base import Context, Options
from prototxt_import.layers.messages import optional_filler, plain, put
from prototxt_import.layers.shapes import HERE, Reach, canonical, spatial
from prototxt_import.layers.table import register
from prototxt_import.values import Filler, Shape

_ONE = Filler(value=1.0)


@register("BatchNorm", field="batch_norm_param", frozen=True, pointwise=True, affine=True, late=True)
@dataclass(frozen=True)
class BatchNormOptions(Options):
    """Blobs: mean (C,), variance (C,), both times the factor (1,). use_global_stats is resolved: TEST unless given."""

    use_global_stats: bool = True
    moving_average_fraction: float = 0.999
    eps: float = 1e-5
    update_global_stats: bool = False

    @classmethod
    def parse(cls, message: Any, context: Context) -> BatchNormOptions:
        source = message.batch_norm_param
        given = source.HasField("use_global_stats")
        return cls(
            use_global_stats=source.use_global_stats if given else context.phase == "TEST",
            moving_average_fraction=plain(source, "moving_average_fraction"),
            eps=plain(source, "eps"),
            update_global_stats=source.update_global_stats,
        )

    def emit(self, message: Any, dialect: str) -> None:
        super().emit(message, dialect)
        # The default depends on the phase in which the file is read, so the value is always written.
        message.batch_norm_param.use_global_stats = self.use_global_stats

    def blob_count(self, bottoms: int) -> int:
        return 3

    def params(self, bottoms: Sequence[Shape]) -> tuple[Shape, ...]:
        channels = 1 if len(bottoms[0]) == 1 else bottoms[0][canonical(1, bottoms[0])]
        return (channels,), (channels,), (1,)

    def per_channel(self, params: Sequence[Shape]) -> bool:
        return self.use_global_stats

    def neutral_blobs(self) -> dict[int, float]:
        return {1: 1.0, 2: 1.0}


def _operand(bottoms: Sequence[Shape], axis: int, num_axes: int) -> Shape:
    """Shape of the learned or given operand that is broadcast over bottoms[0] from `axis` on."""
    start = canonical(axis, bottoms[0])
    if len(bottoms) == 2:
        if bottoms[0][start : start + len(bottoms[1])] != bottoms[1]:
            raise ValueError(f"second bottom {list(bottoms[1])} does not fit {list(bottoms[0])} from axis {axis} on")
        return bottoms[1]
    stop = len(bottoms[0]) if num_axes == -1 else start + num_axes
    if num_axes < -1 or stop > len(bottoms[0]):
        raise ValueError(f"axis {axis} and num_axes {num_axes} reach beyond a bottom of shape {list(bottoms[0])}")
    return bottoms[0][start:stop]


@dataclass(frozen=True)
class _Broadcast(Options):
    """Of layers with an operand that is broadcast over the first bottom, and as many blobs of its shape."""

    axis: int = 1
    num_axes: int = 1

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        _operand(bottoms, self.axis, self.num_axes)
        return (bottoms[0],)

    def params(self, bottoms: Sequence[Shape]) -> tuple[Shape, ...]:
        return (_operand(bottoms, self.axis, self.num_axes),) * self.blob_count(len(bottoms))

    def per_channel(self, params: Sequence[Shape]) -> bool:
        return self.axis == 1 and all(len(shape) == 1 for shape in params)


@register("Scale", field="scale_param", bottoms=(1, 2), pointwise=True, affine=True, late=True)
@dataclass(frozen=True)
class ScaleOptions(_Broadcast):
    """y = x * gamma (+ beta under bias_term). gamma is learned, or the second bottom where there is one."""

    bias_term: bool = False
    filler: Filler = _ONE
    bias_filler: Filler = field(default_factory=Filler)

    @classmethod
    def parse(cls, message: Any, context: Context) -> ScaleOptions:
        source = message.scale_param
        return cls(
            axis=source.axis,
            num_axes=source.num_axes,
            bias_term=source.bias_term,
            filler=optional_filler(source, "filler", _ONE),
            bias_filler=plain(source, "bias_filler"),
        )

    def emit(self, message: Any, dialect: str) -> None:
        for name in ("axis", "num_axes", "bias_term"):
            put(message, "scale_param", name, getattr(self, name))
        if self.filler != _ONE:
            put(message, "scale_param", "filler", self.filler)
        if self.bias_filler != Filler():
            put(message, "scale_param", "bias_filler", self.bias_filler)

    def blob_count(self, bottoms: int) -> int:
        return (bottoms == 1) + self.bias_term


@register("Bias", field="bias_param", bottoms=(1, 2), pointwise=True, affine=True, late=True)
@dataclass(frozen=True)
class BiasOptions(_Broadcast):
    """y = x + beta; one bottom: beta is learned, two: the second is beta."""

    filler: Filler = field(default_factory=Filler)

    def emit(self, message: Any, dialect: str) -> None:
        put(message, "bias_param", "axis", self.axis)
        put(message, "bias_param", "num_axes", self.num_axes)
        if self.filler != Filler():
            put(message, "bias_param", "filler", self.filler)

    def blob_count(self, bottoms: int) -> int:
        return int(bottoms == 1)


@register("LRN", field="lrn_param", v1="LRN", v0=("lrn",), pointwise=True, keeps_place=True)
@dataclass(frozen=True)
class LRNOptions(Options):
    """Local response normalisation over local_size channels, or over a square window within each channel."""

    local_size: int = 5
    alpha: float = 1.0
    beta: float = 0.75
    norm_region: str = "ACROSS_CHANNELS"
    k: float = 1.0

    def __post_init__(self) -> None:
        if self.local_size % 2 == 0:
            raise ValueError(f"local_size is {self.local_size}; it must be odd")

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        spatial(bottoms[0])
        return (bottoms[0],)

    def reach(self, bottom: Shape, top: Shape) -> tuple[Reach, Reach] | None:
        if self.norm_region == "ACROSS_CHANNELS":
            return HERE, HERE
        beside = self.local_size // 2
        return (-beside, beside, 1), (-beside, beside, 1)

    def per_position(self, flat: bool) -> LRNOptions | None:
        return self if self.norm_region == "ACROSS_CHANNELS" else None


@register("MVN", field="mvn_param", v1="MVN", keeps_place=True)
@dataclass(frozen=True)
class MVNOptions(Options):
    """Zero mean and unit variance per plane, or per item under across_channels.

    fixed_mean (v1 without variance): the gradient passes as if the mean did not depend on the bottom."""

    normalize_variance: bool = True
    across_channels: bool = False
    eps: float = 1e-9
    fixed_mean: bool = False

    @classmethod
    def parse(cls, message: Any, context: Context) -> MVNOptions:
        source = message.mvn_param
        eps = plain(source, "eps")
        if context.dialect == "v1" and not source.HasField("eps"):
            eps = 1e-10  # the v1 fork has no such field and this constant
        fixed = context.dialect == "v1" and not source.normalize_variance
        return cls(source.normalize_variance, source.across_channels, eps, fixed)

    def emit(self, message: Any, dialect: str) -> None:
        put(message, "mvn_param", "normalize_variance", self.normalize_variance)
        put(message, "mvn_param", "across_channels", self.across_channels)
        if dialect != "v1":
            put(message, "mvn_param", "eps", self.eps)

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        if len(bottoms[0]) > 4:
            raise ValueError(f"needs a bottom of at most 4 axes, got {list(bottoms[0])}")
        return (bottoms[0],)
