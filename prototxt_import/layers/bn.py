"""BN, a layer name that two families of forks use: PSPNet with four blobs, SegNet and ENet with two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from prototxt_import.layers.base import Context, Options
from prototxt_import.layers.messages import plain, put
from prototxt_import.layers.shapes import canonical
from prototxt_import.layers.table import register
from prototxt_import.values import Filler, Shape

_FOUR = ("slope_filler", "bias_filler", "momentum", "eps", "frozen", "engine")
_TWO = ("scale_filler", "shift_filler", "bn_mode")
_FAMILIES = {"pspnet": 4, "v2": 4, "segnet": 2, "enet": 2}


@register("BN", field="bn_param", v1="BN", tops=(1, 3), pointwise=True, affine=True)
@dataclass(frozen=True)
class BNOptions(Options):
    """Per-channel normalisation; every blob is (1, C, 1, 1).

    blobs 4 (PSPNet): slope, bias, moving mean, moving variance. frozen: the moving statistics in every phase, and no
    training; else TRAIN takes those of the batch and keeps `momentum` of the old ones.
    blobs 2 (SegNet, ENet, DeconvNet): scale and shift. bn_mode "LEARN": statistics of the batch in every phase;
    "INFERENCE": scale x + shift and nothing else. A second and third top hold the batch's mean and variance."""

    blobs: int
    slope_filler: Filler = field(default_factory=Filler)
    bias_filler: Filler = field(default_factory=Filler)
    momentum: float = 0.9
    eps: float = 1e-5
    frozen: bool = False
    bn_mode: str = "LEARN"

    def __post_init__(self) -> None:
        if self.blobs not in (2, 4):
            raise ValueError(f"a BN layer has 4 blobs (PSPNet) or 2 (SegNet), not {self.blobs}")
        if self.blobs == 4 and not 0 <= self.momentum <= 1:
            raise ValueError(f"momentum is {self.momentum}; it must be in [0, 1]")

    @classmethod
    def parse(cls, message: Any, context: Context) -> BNOptions:
        source = message.bn_param
        four, two = ([name for name in names if source.HasField(name)] for names in (_FOUR, _TWO))
        if four and two:
            raise ValueError(f"bn_param gives {four[0]}, which is PSPNet's, beside {two[0]}, which is SegNet's")
        count = 4 if four else 2 if two else cls._count(context)
        if count == 2:
            fillers = plain(source, "scale_filler"), plain(source, "shift_filler")
            return cls(2, *fillers, eps=1e-9, bn_mode=plain(source, "bn_mode"))
        facts = {name: plain(source, name) for name in _FOUR if name != "engine"}
        return cls(count, **facts)

    @staticmethod
    def _count(context: Context) -> int:
        known = _FAMILIES.get(context.dialect)
        if context.asked and known:
            return known
        if blobs := context.stored():
            return blobs
        if known:
            return known
        raise ValueError(
            "bn_param has no field that tells PSPNet's BN (four blobs) from SegNet's (two); give the weights with the "
            "net, or the dialect: pspnet, segnet or enet"
        )

    def emit(self, message: Any, dialect: str) -> None:
        # The fillers are always written: their names tell the two layers apart.
        names = ("slope_filler", "bias_filler") if self.blobs == 4 else ("scale_filler", "shift_filler")
        for name, value in zip(names, (self.slope_filler, self.bias_filler), strict=True):
            put(message, "bn_param", name, value)
        if self.blobs == 2:
            put(message, "bn_param", "bn_mode", self.bn_mode)
            return
        for name in ("momentum", "eps", "frozen"):
            put(message, "bn_param", name, getattr(self, name))

    def blob_count(self, bottoms: int) -> int:
        return self.blobs

    def params(self, bottoms: Sequence[Shape]) -> tuple[Shape, ...]:
        return ((1, self._channels(bottoms), 1, 1),) * self.blobs

    def fixed_blobs(self) -> frozenset[int]:
        if self.blobs == 2:
            return frozenset()
        return frozenset(range(4) if self.frozen else (2, 3))

    def per_channel(self, params: Sequence[Shape]) -> bool:
        # Asked of nets in phase TEST.
        return self.blobs == 4 or self.bn_mode == "INFERENCE"

    def from_batch(self, phase: str) -> bool:
        return self.bn_mode == "LEARN" if self.blobs == 2 else not self.frozen and phase == "TRAIN"

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        if tops > 1 and (self.blobs == 4 or self.bn_mode != "LEARN"):
            raise ValueError("a second and third top (mean and variance of the batch) exist for SegNet's LEARN only")
        channels = (1, self._channels(bottoms), 1, 1)
        return (bottoms[0], channels, channels)[:tops]

    def _channels(self, bottoms: Sequence[Shape]) -> int:
        if not 2 <= len(bottoms[0]) <= 4:
            raise ValueError(f"needs a bottom of 2 to 4 axes with channels on axis 1, got {list(bottoms[0])}")
        return bottoms[0][canonical(1, bottoms[0])]
