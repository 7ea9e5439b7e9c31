"""DT-EdgeNet's filter: scores smoothed along rows and columns, but not across edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prototxt_import.layers.base import Options
from prototxt_import.layers.shapes import spatial
from prototxt_import.layers.table import register
from prototxt_import.values import Shape


@register("DomainTransform", field="domain_transform_param", bottoms=(3, 3), only_in="forks")
@dataclass(frozen=True)
class DomainTransformOptions(Options):
    """Recursive filter of scores (N, C, H, W) by edges (N, 1, H, W) within real sizes, two numbers for each item."""

    num_iter: int = 3
    spatial_sigma: float = 50.0
    range_sigma: float = 5.0
    min_weight: float = 0.0

    def __post_init__(self) -> None:
        if self.num_iter < 1:
            raise ValueError(f"num_iter is {self.num_iter}; it must be at least 1")
        for name in ("spatial_sigma", "range_sigma"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")
        if not self.min_weight >= 0:
            raise ValueError(f"min_weight is {self.min_weight}; it must not be negative")

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        n, _, h, w = spatial(bottoms[0])
        if bottoms[1] != (n, 1, h, w):
            raise ValueError(f"second bottom must hold the edges, [{n}, 1, {h}, {w}], got {list(bottoms[1])}")
        if bottoms[2] not in ((n, 2, 1, 1), (n, 1, 1, 2), (n, 2)):
            raise ValueError(f"third bottom must hold the real sizes, [{n}, 1, 1, 2], got {list(bottoms[2])}")
        return (bottoms[0],)
