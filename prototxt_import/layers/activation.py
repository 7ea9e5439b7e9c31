"""Layers that work element by element."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prototxt_import.layers.base import Context, Options
from prototxt_import.layers.messages import optional_filler, plain, put
from prototxt_import.layers.shapes import canonical
from prototxt_import.layers.table import register
from prototxt_import.values import Filler, Shape

_QUARTER = Filler(value=0.25)


@register("ReLU", field="relu_param", v1="RELU", v0=("relu",), pointwise=True, keeps_place=True)
@dataclass(frozen=True)
class ReLUOptions(Options):
    """max(0, x) + negative_slope min(0, x). Source: Caffe's relu_layer.cpp."""

    negative_slope: float = 0.0


@register("PReLU", field="prelu_param", pointwise=True, keeps_place=True)
@dataclass(frozen=True)
class PReLUOptions(Options):
    """One learned slope per channel, shape (C,), or a single one of shape (1,)."""

    filler: Filler = _QUARTER
    channel_shared: bool = False

    @classmethod
    def parse(cls, message: Any, context: Context) -> PReLUOptions:
        source = message.prelu_param
        return cls(optional_filler(source, "filler", _QUARTER), source.channel_shared)

    def emit(self, message: Any, dialect: str) -> None:
        put(message, "prelu_param", "channel_shared", self.channel_shared)
        if self.filler != _QUARTER:
            put(message, "prelu_param", "filler", self.filler)

    def blob_count(self, bottoms: int) -> int:
        return 1

    def params(self, bottoms: Sequence[Shape]) -> tuple[Shape, ...]:
        return ((1,) if self.channel_shared else (bottoms[0][canonical(1, bottoms[0])],),)


@register("ELU", field="elu_param", pointwise=True, late=True)
@dataclass(frozen=True)
class ELUOptions(Options):
    """x where positive, else alpha (exp x - 1). Source: Caffe's elu_layer.cpp."""

    alpha: float = 1.0


@register("Sigmoid", v1="SIGMOID", v0=("sigmoid",), pointwise=True, keeps_place=True)
@dataclass(frozen=True)
class SigmoidOptions(Options):
    """1 / (1 + exp -x); no options. Source: Caffe's sigmoid_layer.cpp."""

    pass


@register("TanH", v1="TANH", v0=("tanh",), pointwise=True, keeps_place=True)
@dataclass(frozen=True)
class TanHOptions(Options):
    """tanh x; no options. Source: Caffe's tanh_layer.cpp."""

    pass


@register("AbsVal", v1="ABSVAL", pointwise=True, keeps_place=True)
@dataclass(frozen=True)
class AbsValOptions(Options):
    """|x|; no options. Source: Caffe's absval_layer.cpp."""

    pass


@register("BNLL", v1="BNLL", v0=("bnll",), pointwise=True, keeps_place=True)
@dataclass(frozen=True)
class BNLLOptions(Options):
    """log(1 + exp x); no options. Source: Caffe's bnll_layer.cpp."""

    pass


@register("Power", field="power_param", v1="POWER", pointwise=True, keeps_place=True)
@dataclass(frozen=True)
class PowerOptions(Options):
    """(shift + scale x) ^ power."""

    power: float = 1.0
    scale: float = 1.0
    shift: float = 0.0


def _check_base(base: float) -> None:
    if base != -1 and not base > 0:
        raise ValueError(f"base is {base}; it must be above 0, or -1 for e")


@register("Exp", field="exp_param", v1="EXP", pointwise=True, keeps_place=True)
@dataclass(frozen=True)
class ExpOptions(Options):
    """base ^ (shift + scale x); base -1 stands for e."""

    base: float = -1.0
    scale: float = 1.0
    shift: float = 0.0

    def __post_init__(self) -> None:
        _check_base(self.base)


@register("Log", field="log_param", pointwise=True, keeps_place=True)
@dataclass(frozen=True)
class LogOptions(Options):
    """Logarithm of (shift + scale x) to `base`; base -1 stands for e."""

    base: float = -1.0
    scale: float = 1.0
    shift: float = 0.0

    def __post_init__(self) -> None:
        _check_base(self.base)


@register("Threshold", field="threshold_param", v1="THRESHOLD", pointwise=True, keeps_place=True)
@dataclass(frozen=True)
class ThresholdOptions(Options):
    """1 where x > threshold, else 0."""

    threshold: float = 0.0


@register(
    "Dropout", field="dropout_param", v1="DROPOUT", v0=("dropout",), pointwise=True, train_only=True, keeps_place=True
)
@dataclass(frozen=True)
class DropoutOptions(Options):
    """Training drops each element with probability `ratio` and scales the rest by 1 / (1 - ratio).

    sample_in_test (Bayesian SegNet's sample_weights_test): TEST does so, too."""

    ratio: float = 0.5
    sample_in_test: bool = False

    def idle_in_test(self) -> bool:
        return not self.sample_in_test

    def dropped(self) -> float:
        return self.ratio

    def __post_init__(self) -> None:
        if not 0 <= self.ratio < 1:
            raise ValueError(f"dropout_ratio is {self.ratio}; it must be in [0, 1)")

    @classmethod
    def parse(cls, message: Any, context: Context) -> DropoutOptions:
        source = message.dropout_param
        return cls(plain(source, "dropout_ratio"), source.sample_weights_test)

    def emit(self, message: Any, dialect: str) -> None:
        put(message, "dropout_param", "dropout_ratio", self.ratio)
        if self.sample_in_test:
            if dialect not in ("segnet", "enet", "text"):
                raise ValueError(f"the {dialect} dialect has no sample_weights_test")
            put(message, "dropout_param", "sample_weights_test", True)


@register("Swish", field="swish_param", pointwise=True, only_in="bvlc", late=True)
@dataclass(frozen=True)
class SwishOptions(Options):
    """x sigmoid(beta x)."""

    beta: float = 1.0


@register("Clip", field="clip_param", pointwise=True, only_in="bvlc", late=True)
@dataclass(frozen=True)
class ClipOptions(Options):
    """x limited to [min, max]."""

    min: float = 0.0
    max: float = 0.0

    @classmethod
    def parse(cls, message: Any, context: Context) -> ClipOptions:
        source = message.clip_param
        if not (source.HasField("min") and source.HasField("max")):
            raise ValueError("min and max must both be given")
        return cls(plain(source, "min"), plain(source, "max"))

    def emit(self, message: Any, dialect: str) -> None:
        if "clip_param" not in message.DESCRIPTOR.fields_by_name:
            raise ValueError("this dialect has no clip_param")
        message.clip_param.min, message.clip_param.max = self.min, self.max
