"""ParseNet's layer, which SSD has too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prototxt_import.layers.base import Context, Options
from prototxt_import.layers.messages import optional_filler, plain, put
from prototxt_import.layers.table import register
from prototxt_import.values import Filler, Shape

_ONE = Filler(value=1.0)


@register("Normalize", field="norm_param")
@dataclass(frozen=True)
class NormalizeOptions(Options):
    """x / sqrt(sum of x^2 + eps), times a learned scale: a single one of shape (), or one per channel, (C,).

    The sum runs over the channels of each position, or under across_spatial over the whole item."""

    across_spatial: bool = True
    scale_filler: Filler = _ONE
    channel_shared: bool = True
    eps: float = 1e-10

    @classmethod
    def parse(cls, message: Any, context: Context) -> NormalizeOptions:
        source = message.norm_param
        return cls(
            source.across_spatial,
            optional_filler(source, "scale_filler", _ONE),
            source.channel_shared,
            plain(source, "eps"),
        )

    def emit(self, message: Any, dialect: str) -> None:
        for name in ("across_spatial", "channel_shared", "eps"):
            put(message, "norm_param", name, getattr(self, name))
        if self.scale_filler != _ONE:
            put(message, "norm_param", "scale_filler", self.scale_filler)

    def blob_count(self, bottoms: int) -> int:
        return 1

    def params(self, bottoms: Sequence[Shape]) -> tuple[Shape, ...]:
        return (() if self.channel_shared else (self._checked(bottoms)[1],),)

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        return (self._checked(bottoms),)

    @staticmethod
    def _checked(bottoms: Sequence[Shape]) -> Shape:
        if not 2 <= len(bottoms[0]) <= 4:
            raise ValueError(f"needs a bottom of 2 to 4 axes, got {list(bottoms[0])}")
        return bottoms[0]
