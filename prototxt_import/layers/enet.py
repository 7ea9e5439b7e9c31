"""ENet's SpatialDropout, which is a Python layer in its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prototxt_import.layers.base import Context, Options
from prototxt_import.layers.python import parameters, put_python
from prototxt_import.layers.table import register
from prototxt_import.values import Shape


@register("SpatialDropout", field="python_param", pointwise=True)
@dataclass(frozen=True)
class SpatialDropoutOptions(Options):
    """Whole channels dropped with probability p, the rest scaled by 1 / (1 - p).

    phase is the one that stands in param_str, whatever the net's. TEST scales too: the layer is never the identity."""

    p: float
    phase: str

    def __post_init__(self) -> None:
        if not 0 <= self.p < 1:
            raise ValueError(f"p is {self.p}; it must be in [0, 1)")
        if self.phase not in ("TRAIN", "TEST"):
            raise ValueError(f"phase is {self.phase!r} in param_str; it must be TRAIN or TEST")

    def draws_itself(self) -> bool:
        return self.phase == "TRAIN"

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        if len(bottoms[0]) < 2:
            raise ValueError(f"needs a bottom with channels on axis 1, got {list(bottoms[0])}")
        return (bottoms[0],)

    @classmethod
    def parse(cls, message: Any, context: Context) -> SpatialDropoutOptions:
        given = parameters(message.python_param.param_str)
        missing = [name for name in ("p", "phase") if name not in given]
        if missing:
            raise ValueError(f"{missing[0]} is missing in param_str")
        try:
            p = float(given["p"])
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"p is {given['p']!r} in param_str; it must be a number") from None
        return cls(p, str(given["phase"]))

    def emit(self, message: Any, dialect: str) -> None:
        facts = {"phase": self.phase, "p": str(self.p)}
        put_python(message, "spatial_dropout", "SpatialDropoutLayer", facts)
