"""Atrous convolution and its parts, each with its gradient beside it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from deeplab_repro.ops.extension import register_autograd

__all__ = [
    "PACKED_METHODS",
    "add_bias_",
    "atrous_conv2d",
    "atrous_conv2d_packed",
    "col2im",
    "im2col",
    "pack_weight",
    "plan",
    "shift_add",
]

_Pair = int | Sequence[int]


def _pair(value: _Pair) -> list[int]:
    """(h, w) of an int or a pair."""
    return [value, value] if isinstance(value, int | torch.SymInt) else list(value)


def im2col(input: Tensor, kernel: _Pair, stride: _Pair = 1, padding: _Pair = 0, dilation: _Pair = 1) -> Tensor:
    """Samples of each dilated window as columns: input [N, C, H, W] -> [N, C * kh * kw, Ho * Wo].

    Row (c, i, j) holds what tap (i, j) meets on channel c, zero outside the image; Ho = (H + 2 padding -
    dilation (kh - 1) - 1) // stride + 1. Window arguments are one number or (h, w). float32 and float64, on CUDA also
    float16 and bfloat16. Its gradient is `col2im`. Source: Caffe's im2col (Chen et al. 2015, section 3.1).

    Raises RuntimeError for an input that is not 4-D, another dtype, or a window larger than the padded input.
    """
    return torch.ops.deeplab.im2col(input, _pair(kernel), _pair(stride), _pair(padding), _pair(dilation))


def _save_window(ctx, inputs, output) -> None:
    input, *ctx.window = inputs
    ctx.size = input.shape[2:]


def _im2col_backward(ctx, grad: Tensor):
    return torch.ops.deeplab.col2im(grad, ctx.size, *ctx.window), None, None, None, None


register_autograd("im2col", _im2col_backward, _save_window)


def col2im(
    columns: Tensor, size: _Pair, kernel: _Pair, stride: _Pair = 1, padding: _Pair = 0, dilation: _Pair = 1
) -> Tensor:
    """Adjoint of `im2col`: columns [N, C * kh * kw, Ho * Wo] -> [N, C, H, W], size = (H, W).

    Each position sums what its samples carry, in tap order: deterministic on both devices. Dtypes as in `im2col`.

    Raises RuntimeError where the columns do not fit the window, or for another dtype.
    """
    return torch.ops.deeplab.col2im(columns, _pair(size), _pair(kernel), _pair(stride), _pair(padding), _pair(dilation))


def _save_window_of_columns(ctx, inputs, output) -> None:
    _columns, _size, *ctx.window = inputs


def _col2im_backward(ctx, grad: Tensor):
    return torch.ops.deeplab.im2col(grad, *ctx.window), None, None, None, None, None


register_autograd("col2im", _col2im_backward, _save_window_of_columns)


def atrous_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: _Pair = 1,
    padding: _Pair = 0,
    dilation: _Pair = 1,
    groups: int = 1,
    method: str = "auto",
) -> Tensor:
    """Dilated cross-correlation: x [N, C, H, W], weight [F, C / groups, kh, kw], bias [F] -> [N, F, Ho, Wo].

    Zero padding; one number or (h, w) for stride, padding and dilation; any floating dtype, the same for all tensors
    (autocast converts). On the CPU bfloat16 and float16 are computed in float32 and the result rounded once, except by
    "library", and by "auto" and "fast" where the processor multiplies them itself. Differentiable twice. Methods:

    - "auto": the fastest way, by the cost model of csrc/core/conv/plan.h, whose float32 error stays within 2e-6 of
      max|y|, on CUDA 5e-6, where a sum may run in one order: direct arithmetic, F(2x2, 3x3), or the library.
    - "fast": the same with F(4x4, 3x3) allowed, error within 5e-5 of max|y|.
    - "im2col": the Caffe way, `im2col` and a matrix product; the reference. On CUDA reduced types are summed in
      float32. Result contiguous; the columns of one image (CPU) or of at most 256 MiB of images (CUDA, one image at
      least) are in memory at a time.
    - "interlace": the papers' second way: dense convolutions, by the library, of the rate's sub-maps. Stride 1.
    - "direct": products of valid samples alone, no columns in memory: each tap's valid rectangle (CPU), each region of
      outputs that the same taps meet (CUDA).
    - "winograd2", "winograd4", "winograd" (the cheaper one): F(2x2, 3x3) or F(4x4, 3x3) on the sub-maps of any rate
      (Lavin and Gray 2016). Reduced types in float32; 3x3 kernels with stride 1.
    - "library": torch's convolution (oneDNN, cuDNN), whose settings (TF32, autotuning, determinism) apply.

    What a method cannot do it leaves to "library". All but "library" and "interlace" are deterministic; all but
    "im2col" keep channels_last and are fastest with it. Weights are packed on each call; `AtrousConv2d` does so once.
    On CUDA the cost model is that of csrc/core/conv/plan_cuda.h, whose constants are estimates, unless
    `torch.backends.cudnn.benchmark` is on: then the ways are timed, once per kind of call. Products of float32 are in
    TensorFloat-32 where both `torch.backends.cudnn.allow_tf32` and `torch.backends.cuda.matmul.allow_tf32` say so.

    Raises RuntimeError that names the rule and the value found.
    """
    device = x.device.type
    if device in ("cpu", "cuda") and torch.is_autocast_enabled(device) and x.dtype != torch.float64:
        dtype = torch.get_autocast_dtype(device)
        x, weight = x.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    return torch.ops.deeplab.atrous_conv2d(
        x, weight, bias, _pair(stride), _pair(padding), _pair(dilation), groups, method
    )


def _save_conv(ctx, inputs, output) -> None:
    input, weight, bias, *ctx.options = inputs
    ctx.save_for_backward(input, weight)
    ctx.has_bias = bias is not None


def _atrous_conv2d_backward(ctx, grad: Tensor):
    wanted = [*ctx.needs_input_grad[:2], ctx.has_bias and ctx.needs_input_grad[2]]
    grads = torch.ops.deeplab.atrous_conv2d_backward(grad, *ctx.saved_tensors, *ctx.options, wanted)
    return *grads, None, None, None, None, None


register_autograd("atrous_conv2d", _atrous_conv2d_backward, _save_conv)


def _save_conv_backward(ctx, inputs, output) -> None:
    grad, input, weight, *ctx.options, _wanted = inputs
    ctx.save_for_backward(grad, input, weight)


def _atrous_conv2d_double_backward(ctx, for_input: Tensor | None, for_weight: Tensor | None, for_bias: Tensor | None):
    """Gradients of (dx, dw, db), each of which is linear in grad and in one of weight, input, nothing."""
    grad, input, weight = ctx.saved_tensors
    needs_grad, needs_input, needs_weight = ctx.needs_input_grad[:3]
    to_grad = to_input = to_weight = None
    if needs_grad:
        to_grad = torch.zeros_like(grad)
        if for_input is not None:
            to_grad = to_grad + torch.ops.deeplab.atrous_conv2d(for_input, weight, None, *ctx.options)
        if for_weight is not None:
            to_grad = to_grad + torch.ops.deeplab.atrous_conv2d(input, for_weight, None, *ctx.options)
        if for_bias is not None:
            to_grad = to_grad + for_bias.view(1, -1, 1, 1)
    if needs_input and for_weight is not None:
        to_input = torch.ops.deeplab.atrous_conv2d_backward(
            grad, input, for_weight, *ctx.options, [True, False, False]
        )[0]
    if needs_weight and for_input is not None:
        to_weight = torch.ops.deeplab.atrous_conv2d_backward(
            grad, for_input, weight, *ctx.options, [False, True, False]
        )[1]
    return to_grad, to_input, to_weight, None, None, None, None, None, None


register_autograd("atrous_conv2d_backward", _atrous_conv2d_double_backward, _save_conv_backward)


#: Methods of `pack_weight` and `atrous_conv2d_packed`.
PACKED_METHODS = ("direct", "winograd2", "winograd4")


def plan(
    x: Tensor,
    weight: Tensor,
    stride: _Pair = 1,
    padding: _Pair = 0,
    dilation: _Pair = 1,
    groups: int = 1,
    method: str = "auto",
    packed: bool = False,
) -> str:
    """The way `atrous_conv2d` goes with `method` for tensors like these, itself the name of a method; `packed` tells
    whether weights are packed beforehand. Raises RuntimeError as `atrous_conv2d` does."""
    window = _pair(stride), _pair(padding), _pair(dilation)
    return torch.ops.deeplab.atrous_conv2d_plan(x, weight, *window, groups, method, packed)


def pack_weight(weight: Tensor, groups: int = 1, method: str = "direct") -> Tensor:
    """weight [F, C / groups, kh, kw] as `atrous_conv2d_packed` reads it with `method`, one of `PACKED_METHODS`.

    Returns [elements], float64 or float32: F C kh kw / groups of them for "direct", 16/9 and 4 times as many for
    the Winograd methods, which take 3x3 kernels. Raises RuntimeError naming the rule and the value found.
    """
    return torch.ops.deeplab.atrous_conv2d_pack(weight, groups, method)


def atrous_conv2d_packed(
    x: Tensor,
    weight: Tensor,
    packed: Tensor,
    bias: Tensor | None = None,
    stride: _Pair = 1,
    padding: _Pair = 0,
    dilation: _Pair = 1,
    groups: int = 1,
    method: str = "direct",
    relu: bool = False,
) -> Tensor:
    """`atrous_conv2d` by one of `PACKED_METHODS` with packed = pack_weight(weight, groups, method), then max(0, .) if
    `relu`. No gradients; of `weight` only the sizes are read. Raises RuntimeError naming the rule and the value found.
    """
    window = _pair(stride), _pair(padding), _pair(dilation)
    return torch.ops.deeplab.atrous_conv2d_packed(x, weight, packed, bias, *window, groups, method, relu)


def add_bias_(maps: Tensor, bias: Tensor, relu: bool = False) -> Tensor:
    """maps [N, F, H, W] += bias [F] in place, then max(0, .) if `relu`: one pass where maps are channels_last.

    Any floating dtype; no gradients. Raises RuntimeError naming the rule and the value found."""
    torch.ops.deeplab.add_bias_(maps, bias, relu)
    return maps


def shift_add(values: Tensor, offsets: Sequence[tuple[int, int]]) -> Tensor:
    """Sum of shifted maps: values [N, H, W, T, F], T offsets (dy, dx) -> [N, F, H, W], channels_last.

    Output (y, x) sums values[:, y + dy, x + dx, t] over t, nothing where that lies outside. Any floating dtype;
    differentiable twice. Raises RuntimeError where there is not one offset per row of taps.
    """
    return torch.ops.deeplab.shift_add(values, [dy for dy, _ in offsets], [dx for _, dx in offsets])


def _save_offsets(ctx, inputs, output) -> None:
    _tensor, *ctx.offsets = inputs


def _shift_add_backward(ctx, grad: Tensor):
    return torch.ops.deeplab.shift_gather(grad, *ctx.offsets), None, None


def _shift_gather_backward(ctx, grad: Tensor):
    return torch.ops.deeplab.shift_add(grad, *ctx.offsets), None, None


register_autograd("shift_add", _shift_add_backward, _save_offsets)
register_autograd("shift_gather", _shift_gather_backward, _save_offsets)
