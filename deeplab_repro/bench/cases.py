"""The shapes that are timed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class ConvCase:
    """A square atrous convolution that keeps the map's size."""

    layer: str
    channels: int
    filters: int
    kernel: int
    rate: int
    size: int
    batch: int = 1

    @property
    def name(self) -> str:
        """The case in a word: layer, channels, kernel, rate, size and batch."""
        kernel = f"{self.kernel}x{self.kernel}"
        return f"{self.layer} {self.channels}->{self.filters} {kernel} r{self.rate} {self.size} n{self.batch}"

    @property
    def padding(self) -> int:
        """Zeros on each side, in pixels, that keep the map's size."""
        return self.rate * (self.kernel - 1) // 2

    @property
    def multiplies(self) -> int:
        """Multiply-accumulates, those that meet zero padding included."""
        return self.batch * self.channels * self.filters * (self.kernel * self.size) ** 2

    def products(self, direction: str) -> int:
        """How many products the longest sums hold: "forward", or "backward" over filters or over whole maps."""
        if direction == "forward":
            return self.channels * self.kernel**2
        return max(self.filters * self.kernel**2, self.batch * self.size**2)

    @property
    def valid(self) -> float:
        """Share of the multiply-accumulates whose sample lies inside the map."""
        inside = sum(
            0 <= out - self.padding + tap * self.rate < self.size
            for out in range(self.size)
            for tap in range(self.kernel)
        )
        return (inside / (self.kernel * self.size)) ** 2


def _sizes(layer: str, channels: int, filters: int, kernel: int, rate: int) -> list[ConvCase]:
    """Maps of 321, 513 and 769 pixels at stride 8."""
    return [ConvCase(layer, channels, filters, kernel, rate, size) for size in (41, 65, 97)]


# fc6 has 1024 outputs throughout, so that rates and kernels compare (the published 4x4 and 7x7 nets have 4096).
CONV_CASES: tuple[ConvCase, ...] = (
    *(case for rate in (6, 12, 18, 24) for case in _sizes("fc6", 512, 1024, 3, rate)),
    *_sizes("conv5", 512, 512, 3, 2),
    *_sizes("res5", 512, 512, 3, 4),
    *_sizes("res4", 256, 256, 3, 2),
    *_sizes("fc6", 512, 1024, 4, 4),
    *_sizes("fc6", 512, 1024, 4, 8),
    *_sizes("fc6", 512, 1024, 7, 4),
)

_FEW = {("fc6", 3, 6), ("fc6", 3, 12), ("fc6", 3, 24), ("conv5", 3, 2), ("res4", 3, 2), ("fc6", 4, 4)}


def conv_cases(full: bool = False, batches: tuple[int, ...] = (1,), only: str = "") -> list[ConvCase]:
    """All shapes, or the six that stand for them on the 41 x 41 map; of all, those whose names match the regular
    expression `only`, if there is one."""
    chosen = [
        case
        for case in CONV_CASES
        if full or only or (case.size == 41 and (case.layer, case.kernel, case.rate) in _FEW)
    ]
    batched = [replace(case, batch=batch) for batch in batches for case in chosen]
    return [case for case in batched if re.search(only, case.name)]


@dataclass(frozen=True)
class CrfCase:
    """A dense CRF on a drawn scene; "smooth" and "busy" have the vertex counts of street and photo-album images."""

    kind: str
    height: int = 375
    width: int = 500
    labels: int = 21
    iterations: int = 10
    bilateral_xy_std: float = 67.0
    bilateral_rgb_std: float = 3.0
    batch: int = 1
    first_seed: int = 0

    @property
    def name(self) -> str:
        """The case in a word: scene, size, iterations and standard deviations."""
        size = f"{self.width}x{self.height}x{self.labels}x{self.iterations}"
        batch = f" n{self.batch}" if self.batch > 1 else ""
        seed = f" seed {self.first_seed}" if self.first_seed else ""
        return f"{self.kind} {size} 4/{self.bilateral_xy_std:g}/{self.bilateral_rgb_std:g}{batch}{seed}"

    @property
    def energies(self) -> int:
        """Numbers in the unary."""
        return self.batch * self.labels * self.height * self.width


# Cases with more energies, 1 GiB, are left out: programs hold several copies.
MOST_ENERGIES = 2**28


def crf_cases(full: bool = False, batches: tuple[int, ...] = (1,), only: str = "") -> list[CrfCase]:
    """The photo of 500 x 375 with 21 labels, or every size and number of labels that fits into memory.

    Of these, the cases whose names the regular expression `only` finds."""
    sizes = ((321, 321), (375, 500), (1024, 2048)) if full else ((375, 500),)
    cases = [
        CrfCase(kind, *size, labels, batch=batch)
        for batch in batches
        for size in sizes
        for labels in ((2, 21, 60, 150) if full else (21,))
        for kind in ("smooth", "busy")
    ]
    return [case for case in cases if case.energies <= MOST_ENERGIES and re.search(only, case.name)]


# What the GPU's aims speak of: four images that load the lattice as photographs do, the papers' two sizes, a batch.
CRF_GPU_CASES: tuple[CrfCase, ...] = (
    *(CrfCase("busy", first_seed=seed) for seed in range(4)),
    CrfCase("smooth"),
    CrfCase("busy", 321, 321),
    CrfCase("smooth", 1024, 2048),
    CrfCase("busy", batch=8),
)


@dataclass(frozen=True)
class NetCase:
    """A zoo model at full width on a square image; what is timed ends at the blob `scores`, before the last Interp."""

    title: str
    model: str
    scores: str
    size: int = 321
    options: dict[str, Any] = field(default_factory=dict)
    batch: int = 1

    @property
    def name(self) -> str:
        """The case in a word: model, size and batch."""
        return f"{self.title} {self.size} n{self.batch}"


NET_CASES: tuple[NetCase, ...] = (
    NetCase("LargeFOV", "deeplab_largefov", "fc8_voc12"),
    NetCase("ResNet-101 ASPP", "deeplab_resnet101", "fc1_voc12", options={"multi_scale": False}),
)
# What only a GPU does in a moment.
LARGE_NET_CASES: tuple[NetCase, ...] = (
    NET_CASES[0],
    NetCase("ResNet-101 MSC", "deeplab_resnet101", "fc_fusion", 513),
)
