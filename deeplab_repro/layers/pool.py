"""Pooling, with Caffe's window rules (pooling_layer.cpp)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from deeplab_repro.layers.base import CaffeLayer, module
from prototxt_import import LayerSpec, NetSpec
from prototxt_import.layers.pool import PoolingOptions

Pair = tuple[int, int]


class Windows:
    """The `out` windows of a pooling layer on a map of `size`; every pair is (height, width)."""

    def __init__(self, size: Pair, out: Pair, kernel: Pair, stride: Pair, pad: Pair) -> None:
        self.size, self.out, self.kernel, self.stride, self.pad = size, out, kernel, stride, pad

    def native(self) -> bool | None:
        """The ceil_mode with which torch lays the same windows, None where neither does.

        torch drops every window that starts past the image, Caffe only if there is padding; torch pads by at most
        half a kernel."""
        if any(2 * p > k for p, k in zip(self.pad, self.kernel, strict=True)):
            return None
        for up in (True, False):
            axes = zip(self.size, self.out, self.kernel, self.stride, self.pad, strict=True)
            if all(m == self._torch_count(n, k, s, p, up) for n, m, k, s, p in axes):
                return up
        return None

    @staticmethod
    def _torch_count(size: int, kernel: int, stride: int, pad: int, up: bool) -> int:
        room = size + 2 * pad - kernel
        count = (room + stride - 1 if up else room) // stride + 1
        return count - 1 if up and (count - 1) * stride >= size + pad else count

    def extended(self, x: Tensor, value: float) -> Tensor:
        """`x` with padding and the overhang of the last windows laid out as `value`, to be pooled without either."""
        rows, columns = ((m - 1) * s + k for m, s, k in zip(self.out, self.stride, self.kernel, strict=True))
        top, left = self.pad
        bottom, right = max(rows - self.size[0] - top, 0), max(columns - self.size[1] - left, 0)
        return F.pad(x, (left, right, top, bottom), value=value)[..., :rows, :columns]

    def areas(self) -> Tensor:
        """What AVE divides by, [Ho, Wo] int64: the window's area inside the padded map."""
        rows, columns = (
            (torch.arange(m) * s + k).clamp(max=n + 2 * p) - torch.arange(m) * s
            for n, m, k, s, p in zip(self.size, self.out, self.kernel, self.stride, self.pad, strict=True)
        )
        return torch.outer(rows, columns)


def average_pool(x: Tensor, windows: Windows) -> Tensor:
    """Caffe's AVE pooling: padding counts as zeros, the overhang of the last window does not count.

    Args:
        x: Maps [N, C, H, W].
        windows: The windows.

    Returns:
        The means.
    """
    kernel, stride, up = windows.kernel, windows.stride, windows.native()
    if up is not None:
        return F.avg_pool2d(x, kernel, stride, windows.pad, ceil_mode=up, count_include_pad=True)
    total = F.avg_pool2d(windows.extended(x, 0.0), kernel, stride, divisor_override=1)
    return total / windows.areas().to(total)


def max_pool(x: Tensor, windows: Windows) -> tuple[Tensor, Tensor]:
    """Caffe's MAX pooling. Among equals the first in row-major order wins.

    Args:
        x: Maps [N, C, H, W].
        windows: The windows.

    Returns:
        The maxima, and the flat index h*W+w of each (int64). A window outside the image gives -FLT_MAX with index -1.
    """
    kernel, stride, up = windows.kernel, windows.stride, windows.native()
    if up is not None:
        return F.max_pool2d(x, kernel, stride, windows.pad, ceil_mode=up, return_indices=True)
    wide = windows.extended(x, float("-inf"))
    y, index = F.max_pool2d(wide, kernel, stride, return_indices=True)
    row = index.div(wide.shape[-1], rounding_mode="floor") - windows.pad[0]
    column = index.remainder(wide.shape[-1]) - windows.pad[1]
    empty = y.detach() == float("-inf")
    return y.masked_fill(empty, torch.finfo(x.dtype).min), (row * x.shape[-1] + column).masked_fill(empty, -1)


def pooled(x: Tensor, options: PoolingOptions) -> tuple[Tensor, Tensor | None]:
    """The pooling that `options` describe, and with MAX the flat index of each maximum (int64)."""
    (*_, height, width), (*_, rows, columns) = x.shape, options.shapes([tuple(x.shape)], 1)[0]
    size = height, width
    kernel = size if options.global_pooling else options.kernel
    windows = Windows(size, (rows, columns), kernel, options.stride, options.pad)
    return (average_pool(x, windows), None) if options.method == "AVE" else max_pool(x, windows)


@module("Pooling")
class Pooling(CaffeLayer):
    """MAX or AVE pooling; with MAX a second top holds the flat index of each maximum as a number."""

    fresh_top = any_layout = low_precision = True

    def __init__(self, layer: LayerSpec, spec: NetSpec) -> None:
        super().__init__(layer, spec)
        if self.options.method not in ("MAX", "AVE"):
            raise self.fail(f"{self.options.method} pooling is not supported; use MAX or AVE")

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        y, index = pooled(x, self.options)
        return (
            (y, index.to(torch.promote_types(x.dtype, torch.float32)))
            if index is not None and len(self.layer.tops) > 1
            else y
        )


@module("SPP")
class SPP(CaffeLayer):
    """Spatial pyramid pooling: 2^l x 2^l bins at level l, flattened and joined; one level alone keeps [N, C, 1, 1]."""

    def __init__(self, layer: LayerSpec, spec: NetSpec) -> None:
        super().__init__(layer, spec)
        if self.options.pool not in ("MAX", "AVE"):
            raise self.fail(f"{self.options.pool} pooling is not supported; use MAX or AVE")

    def forward(self, x: Tensor) -> Tensor:
        levels = [pooled(x, options)[0] for options in self.options.poolings(x.shape[-2], x.shape[-1])]
        return levels[0] if len(levels) == 1 else torch.cat([y.flatten(1) for y in levels], 1)
