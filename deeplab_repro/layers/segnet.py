"""SegNet's Upsample and DeconvNet's Unpooling: values back to where a pooling found them."""

from __future__ import annotations

import torch
from torch import Tensor

from deeplab_repro.layers.base import CaffeLayer, module
from deeplab_repro.layers.uncompiled import uncompiled


class _Placed(torch.autograd.Function):
    """values [R, n] at the positions index [R, n] of rows of zeros; among values of one position the last one stands.

    Every value gets the gradient of its position, those that were overwritten, too, as in the forks."""

    @staticmethod
    def forward(ctx, values: Tensor, index: Tensor, size: int) -> Tensor:
        ctx.save_for_backward(index)
        order = torch.arange(index.shape[1], device=index.device).expand_as(index)
        last = index.new_full((index.shape[0], size), -1).scatter_reduce_(1, index, order, "amax")
        top = values.gather(1, last.clamp(min=0)) if index.shape[1] else values.new_zeros(last.shape)
        return top.masked_fill_(last < 0, 0)

    @staticmethod
    def backward(ctx, grad: Tensor):
        (index,) = ctx.saved_tensors
        return grad.gather(1, index), None, None


def placed(values: Tensor, index: Tensor, height: int, width: int) -> Tensor:
    """Values [N, C, h, w] at flat positions (int64, same shape) of planes of `height` x `width`, zeros elsewhere."""
    rows = _Placed.apply(values.flatten(2).flatten(0, 1), index.flatten(2).flatten(0, 1), height * width)
    return rows.reshape(*values.shape[:2], height, width)


class _ByMask(CaffeLayer):
    """A layer that places its first bottom where the mask in the second says, or in a grid without one."""

    @uncompiled  # looks at values, which a compiled graph cannot
    def _positions(self, mask: Tensor, height: int, width: int) -> Tensor:
        index = mask.detach().to(torch.int64)
        outside = (index < 0) | (index >= height * width)
        # A program of torch.export has no value to look at.
        if not torch.compiler.is_exporting() and bool(outside.any()):
            raise self.fail(
                f"the mask names position {int(index[outside][0])}, outside a top of {height} x {width}; is it the "
                "mask of a pooling of another size?"
            )
        return index

    def _size(self, x: Tensor) -> tuple[int, int]:
        return self.options.shapes([tuple(x.shape)], 1)[0][2:]


@module("Upsample")
class Upsample(_ByMask):
    """Values [N, C, h, w] at the positions of a MAX pooling's mask, zeros elsewhere."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        size = self._size(x)
        return placed(x, self._positions(mask, *size), *size)


@module("Unpooling")
class Unpooling(_ByMask):
    """As Upsample with a mask; without one each value at the top left of its window, held inside the top."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        size = self._size(x)
        index = self._grid(x, *size) if mask is None else self._positions(mask, *size)
        return placed(x, index, *size)

    def _grid(self, x: Tensor, height: int, width: int) -> Tensor:
        rows, columns = (
            (torch.arange(n, device=x.device) * stride).clamp(max=most - 1)
            for n, stride, most in zip(x.shape[-2:], self.options.stride, (height, width), strict=True)
        )
        return (rows[:, None] * width + columns).expand(x.shape)
