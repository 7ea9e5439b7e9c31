"""Layers that change the size of a map: Interp, Padding, Crop."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from deeplab_repro.layers.base import CaffeLayer, module


@lru_cache(maxsize=256)
def _taps(size: int, out: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Left index, right index and the right one's weight of each output position, in single precision as in Caffe."""
    ratio = np.float32(size - 1) / np.float32(out - 1) if out > 1 else np.float32(0)
    source = ratio * np.arange(out, dtype=np.float32)
    left = source.astype(np.int64)
    return left, left + (left < size - 1), source - left.astype(np.float32)


def _along(x: Tensor, dim: int, out: int) -> Tensor:
    size = x.shape[dim]
    if size == out:
        return x
    left, right, weight = (torch.from_numpy(a).to(x.device) for a in _taps(size, out))
    weight = weight.to(x.dtype).reshape([-1] + [1] * (-1 - dim))
    # Caffe's order of rounding: (1 - w) a + w b, along the rows first.
    top = x.index_select(dim, left).mul_(1 - weight)
    return top.add_(x.index_select(dim, right).mul_(weight))


def interpolate(x: Tensor, height: int, width: int) -> Tensor:
    """Resize maps bilinearly with corners aligned; no antialiasing.

    Source coordinates are single precision whatever the dtype. Maps of one channel are equal bit for bit: they may be
    labels, which blend and are cut down to integers afterwards, so that the last bit can change a class.

    Args:
        x: Maps [N, C, H, W].
        height: Of the result.
        width: Of the result.

    Returns:
        Maps [N, C, height, width]. The gradient is autograd's of the calls here.

    Source:
        Caffe's interp.cpp.
    """
    if (height, width) == tuple(x.shape[-2:]):
        return x
    if x.shape[1] > 1 and x.dtype != torch.float64:
        # The same coordinates and weights in one pass over memory; only the order of the rounding differs.
        return F.interpolate(x, (height, width), mode="bilinear", align_corners=True)
    return _along(_along(x, -1, width), -2, height)


@module("Interp")
class Interp(CaffeLayer):
    """Crop by pad_beg and pad_end (<= 0), then resize bilinearly with corners aligned. Labels are blended too."""

    any_layout = True

    def forward(self, x: Tensor) -> Tensor:
        o = self.options
        h, w = x.shape[-2:]
        return interpolate(x[..., -o.pad_beg : h + o.pad_end, -o.pad_beg : w + o.pad_end], *o.size(h, w))


@module("Padding")
class Padding(CaffeLayer):
    """Zeros added at the top and left (pad_beg) and bottom and right (pad_end); both negative: cropped."""

    any_layout = True

    def forward(self, x: Tensor) -> Tensor:
        beg, end = self.options.pad_beg, self.options.pad_end
        return F.pad(x, (beg, end, beg, end))


@module("Crop")
class Crop(CaffeLayer):
    """The first bottom cut to the second's size in every dimension from `axis` on, at the given offsets."""

    any_layout = True

    def forward(self, x: Tensor, like: Tensor) -> Tensor:
        offsets = self.options.offsets([tuple(x.shape), tuple(like.shape)])
        for dim in range(self.options.axis % x.dim(), x.dim()):
            x = x.narrow(dim, offsets[dim], like.shape[dim])
        return x
