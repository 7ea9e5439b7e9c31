"""CCNN's dense random field, whose files call it DenseCRF as DeepLab's do."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prototxt_import.layers.base import Options
from prototxt_import.layers.shapes import spatial
from prototxt_import.layers.table import register
from prototxt_import.values import Shape


@register("LabelCRF", field="densecrf_param", bottoms=(2, 2), decides=True)
@dataclass(frozen=True)
class LabelCRFOptions(Options):
    """Most probable labels (N, 1, H, W) of scores (N, C, H, W) and a BGR image (N, 3, H, W) of values 0..255.

    In files its type is DenseCRF; its message, densecrf_param, tells it from DeepLab's layer."""

    x_gauss: float = 3.0
    y_gauss: float = 3.0
    wt_gauss: float = 3.0
    x_bilateral: float = 60.0
    y_bilateral: float = 60.0
    r_bilateral: float = 20.0
    g_bilateral: float = 20.0
    b_bilateral: float = 20.0
    wt_bilateral: float = 10.0

    def __post_init__(self) -> None:
        for option in dataclasses.fields(self):
            value = getattr(self, option.name)
            if not option.name.startswith("wt_") and not value > 0:
                raise ValueError(f"{option.name} is {value}; it must be above 0")

    def emit(self, message: Any, dialect: str) -> None:
        super().emit(message, dialect)
        message.type = "DenseCRF"

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        n, labels, h, w = spatial(bottoms[0])
        if bottoms[1] != (n, 3, h, w) or labels < 3:
            raise ValueError(
                f"needs scores of 3 labels or more and an image of their size, got {list(bottoms[0])} and "
                f"{list(bottoms[1])}"
            )
        return ((n, 1, h, w),)
