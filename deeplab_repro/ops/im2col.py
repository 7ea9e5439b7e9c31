"""The samples of a dilated window as columns, and the adjoint; the gradient of each is the other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from deeplab_repro.ops.extension import register_autograd

Pair = int | Sequence[int]


def pair(value: Pair) -> list[int]:
    """(h, w) of an int or a pair."""
    return [value, value] if isinstance(value, int | torch.SymInt) else list(value)


def im2col(input: Tensor, kernel: Pair, stride: Pair = 1, padding: Pair = 0, dilation: Pair = 1) -> Tensor:
    """The samples of each dilated window as columns.

    Row (c, i, j) holds what tap (i, j) meets on channel c, zero outside the image. The gradient is `col2im`.

    Args:
        input: Maps [N, C, H, W], float32 or float64, on CUDA also float16 and bfloat16.
        kernel: Taps of the window; like the arguments that follow, one number or (h, w).
        stride: Pixels from one window to the next.
        padding: Zeros around the maps, in pixels on each side.
        dilation: Pixels from one tap to the next.

    Returns:
        Columns [N, C * kh * kw, Ho * Wo] of the input's dtype;
        Ho = (H + 2 padding - dilation (kh - 1) - 1) // stride + 1.

    Raises:
        RuntimeError: The input is not 4-D or of another dtype, or a window is larger than the padded input.

    Source:
        Caffe's im2col (util/im2col.cpp); Chen et al. 2015, section 3.1.

    Example:
        >>> import torch
        >>> from deeplab_repro import ops
        >>> x = torch.arange(9.0).reshape(1, 1, 3, 3)
        >>> ops.im2col(x, kernel=2, dilation=2)
        tensor([[[0.],
                 [2.],
                 [6.],
                 [8.]]])
    """
    return torch.ops.deeplab.im2col(input, pair(kernel), pair(stride), pair(padding), pair(dilation))


def _save_window(ctx, inputs, output) -> None:
    input, *ctx.window = inputs
    ctx.size = input.shape[2:]


def _im2col_backward(ctx, grad: Tensor):
    return torch.ops.deeplab.col2im(grad, ctx.size, *ctx.window), None, None, None, None


register_autograd("im2col", _im2col_backward, _save_window)


def col2im(
    columns: Tensor, size: Pair, kernel: Pair, stride: Pair = 1, padding: Pair = 0, dilation: Pair = 1
) -> Tensor:
    """The adjoint of `im2col`: each position sums what its samples carry.

    The sum runs in tap order and is deterministic on both devices.

    Args:
        columns: Columns [N, C * kh * kw, Ho * Wo], of the dtypes that `im2col` takes.
        size: (H, W) of the result; like the arguments that follow, one number or (h, w).
        kernel: Taps of the window.
        stride: Pixels from one window to the next.
        padding: Zeros around the maps, in pixels on each side.
        dilation: Pixels from one tap to the next.

    Returns:
        Maps [N, C, H, W] of the columns' dtype.

    Raises:
        RuntimeError: The columns do not fit the window, or are of another dtype.

    Source:
        Caffe's col2im (util/im2col.cpp).

    Example:
        >>> import torch
        >>> from deeplab_repro import ops
        >>> ops.col2im(torch.ones(1, 4, 4), size=3, kernel=2)  # how many of the 2x2 windows hold each pixel
        tensor([[[[1., 2., 1.],
                  [2., 4., 2.],
                  [1., 2., 1.]]]])
    """
    return torch.ops.deeplab.col2im(columns, pair(size), pair(kernel), pair(stride), pair(padding), pair(dilation))


def _save_window_of_columns(ctx, inputs, output) -> None:
    _columns, _size, *ctx.window = inputs


def _col2im_backward(ctx, grad: Tensor):
    return torch.ops.deeplab.im2col(grad, *ctx.window), None, None, None, None, None


register_autograd("col2im", _col2im_backward, _save_window_of_columns)
