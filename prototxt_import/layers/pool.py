"""Pooling, and the pyramid of poolings SPP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prototxt_import.layers.base import Context, Options
from prototxt_import.layers.conv import window_pair
from prototxt_import.layers.messages import plain, put
from prototxt_import.layers.shapes import Reach, check_padded, count, pair, spatial
from prototxt_import.layers.table import register
from prototxt_import.values import Shape


@register("Pooling", field="pooling_param", v1="POOLING", v0=("pool",), tops=(1, 2))
@dataclass(frozen=True)
class PoolingOptions(Options):
    """Window maximum or mean; pairs are (h, w). Under global_pooling the kernel (here (0, 0)) is the bottom's size."""

    method: str = "MAX"
    kernel: tuple[int, int] = (0, 0)
    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (0, 0)
    global_pooling: bool = False
    round_mode: str = "CEIL"

    def __post_init__(self) -> None:
        for name in ("kernel", "stride", "pad"):
            object.__setattr__(self, name, pair(getattr(self, name)))
        if self.method not in ("MAX", "AVE", "STOCHASTIC"):
            raise ValueError(f"pool is {self.method!r}; known are MAX, AVE and STOCHASTIC")
        if self.global_pooling:
            if self.kernel != (0, 0) or self.stride != (1, 1) or self.pad != (0, 0):
                raise ValueError("global_pooling takes no kernel_size, and only stride 1 and pad 0")
            return
        if min(self.kernel) < 1:
            raise ValueError("kernel_size is missing or 0; give it, or global_pooling: true")
        if min(self.stride) < 1:
            raise ValueError(f"stride is {self.stride}; both sides must be at least 1")
        if min(self.pad) < 0 or self.pad[0] >= self.kernel[0] or self.pad[1] >= self.kernel[1]:
            raise ValueError(f"pad {self.pad} must be smaller than kernel {self.kernel}")
        if self.method == "STOCHASTIC" and any(self.pad):
            raise ValueError(f"pad is {self.pad}; Caffe pads for MAX and AVE only")

    @classmethod
    def parse(cls, message: Any, context: Context) -> PoolingOptions:
        source = message.pooling_param
        return cls(
            method=plain(source, "pool"),
            kernel=window_pair(source, "kernel_size", None) or (0, 0),
            stride=window_pair(source, "stride", 1, together=True) or (1, 1),
            pad=window_pair(source, "pad", 0, together=True) or (0, 0),
            global_pooling=source.global_pooling,
            round_mode=plain(source, "round_mode"),
        )

    def emit(self, message: Any, dialect: str) -> None:
        put(message, "pooling_param", "pool", self.method)
        for name, value, default in (("kernel", self.kernel, 0), ("stride", self.stride, 1), ("pad", self.pad, 0)):
            if value == (default, default):
                continue
            if value[0] == value[1]:
                put(message, "pooling_param", "kernel_size" if name == "kernel" else name, value[0])
            else:
                put(message, "pooling_param", f"{name}_h", value[0])
                put(message, "pooling_param", f"{name}_w", value[1])
        put(message, "pooling_param", "global_pooling", self.global_pooling)
        put(message, "pooling_param", "round_mode", self.round_mode)

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        n, c, h, w = spatial(bottoms[0])
        if tops == 2 and self.method != "MAX":
            raise ValueError("a second top (the mask) exists for MAX only")
        check_padded(bottoms[0], self.pad)
        kernel = (h, w) if self.global_pooling else self.kernel
        sides = [self._side(size, kernel[axis], axis) for axis, size in enumerate((h, w))]
        if min(sides) < 1:
            raise ValueError(f"bottom {list(bottoms[0])} is too small for kernel {kernel}, pad {self.pad}")
        return ((n, c, *sides),) * tops

    def reach(self, bottom: Shape, top: Shape) -> tuple[Reach, Reach] | None:
        if self.global_pooling:
            return None
        rows, columns = (
            (-pad, kernel - 1 - pad, stride)
            for kernel, pad, stride in zip(self.kernel, self.pad, self.stride, strict=True)
        )
        return rows, columns

    def _side(self, size: int, kernel: int, axis: int) -> int:
        stride, pad = self.stride[axis], self.pad[axis]
        room = size + 2 * pad - kernel
        # A window up to a stride larger than the map still gives 1: Caffe rounds the quotient up.
        pooled = (room if self.round_mode == "FLOOR" else room + stride - 1) // stride + 1
        # Caffe rounds up and, when either axis is padded, drops a last window that would start past the image.
        if any(self.pad) and (pooled - 1) * stride >= size + pad:
            pooled -= 1
        return pooled


@register("SPP", field="spp_param")
@dataclass(frozen=True)
class SPPOptions(Options):
    """Poolings into 2^l x 2^l bins for l below pyramid_height, flattened and joined; one level keeps (N, C, 1, 1)."""

    pyramid_height: int = 0
    pool: str = "MAX"

    def __post_init__(self) -> None:
        # 2^l bins per side cannot exceed the pixels of a side that Caffe can count.
        if not 1 <= self.pyramid_height <= 16:
            raise ValueError(f"pyramid_height is {self.pyramid_height}; it must be in 1..16")

    def poolings(self, height: int, width: int) -> tuple[PoolingOptions, ...]:
        """The pooling of each level.

        Args:
            height: The plane's.
            width: The plane's.

        Returns:
            One level's options after the other's.

        Raises:
            ValueError: A side is too small for its bins.
        """
        levels = []
        for level in range(self.pyramid_height):
            bins = 2**level
            kernel = tuple(-(-side // bins) for side in (height, width))
            pad = tuple((k * bins - side + 1) // 2 for k, side in zip(kernel, (height, width), strict=True))
            levels.append(PoolingOptions(self.pool, pair(kernel), pair(kernel), pair(pad)))
        return tuple(levels)

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        n, c, h, w = spatial(bottoms[0])
        pooled = [level.shapes(bottoms, 1)[0] for level in self.poolings(h, w)]
        return ((n, c, 1, 1),) if len(pooled) == 1 else ((n, sum(count(shape[1:]) for shape in pooled)),)
