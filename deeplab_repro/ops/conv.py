"""Atrous convolution, its weights packed beforehand, and sums of shifted maps, each with its gradient beside it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from deeplab_repro.ops.extension import register_autograd
from deeplab_repro.ops.im2col import Pair, pair

__all__ = [
    "PACKED_METHODS",
    "add_bias_",
    "atrous_conv2d",
    "atrous_conv2d_packed",
    "pack_weight",
    "plan",
    "shift_add",
]


def atrous_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
    method: str = "auto",
) -> Tensor:
    """Atrous convolution: a cross-correlation with `dilation` - 1 holes between the taps, differentiable twice.

    The methods are:

    - "auto": the fastest way, by the cost model of csrc/core/conv/plan.h, whose float32 error stays within 2e-6 of
      max|y|, on CUDA 5e-6, where a sum may run in one order: direct arithmetic, F(2x2, 3x3), or the library.
    - "fast": the same with F(4x4, 3x3) allowed, error within 5e-5 of max|y|.
    - "im2col": the Caffe way, `im2col` and a matrix product; the reference. On CUDA reduced types are summed in
      float32. The result is contiguous; the columns of one image (CPU) or of at most 256 MiB of images (CUDA, one image
      at least) are in memory at a time.
    - "interlace": the papers' second way: dense convolutions, by the library, of the rate's sub-maps. Stride 1.
    - "direct": products of valid samples alone, no columns in memory: each tap's valid rectangle (CPU), each region of
      outputs that the same taps meet (CUDA).
    - "winograd2", "winograd4", "winograd" (the cheaper one): F(2x2, 3x3) or F(4x4, 3x3) on the sub-maps of any rate
      (Lavin and Gray 2016). Reduced types are computed in float32; 3x3 kernels with stride 1.
    - "library": torch's convolution (oneDNN, cuDNN), whose settings (TF32, autotuning, determinism) apply.

    What a method cannot do it leaves to "library". All but "library" and "interlace" are deterministic; all but
    "im2col" keep channels_last and are fastest with it. Weights are packed on each call; `AtrousConv2d` does so once.
    On the CPU bfloat16 and float16 are computed in float32 and the result is rounded once, except by "library", and by
    "auto" and "fast" where the processor multiplies them itself.
    On CUDA the cost model is that of csrc/core/conv/plan_cuda.h, whose constants are estimates, unless
    `torch.backends.cudnn.benchmark` is on: then the ways are timed, once per kind of call. Products of float32 are in
    TensorFloat-32 where both `torch.backends.cudnn.allow_tf32` and `torch.backends.cuda.matmul.allow_tf32` say so.

    Args:
        x: Maps [N, C, H, W] of any floating dtype, the same for all tensors (autocast converts).
        weight: Filters [F, C / groups, kh, kw].
        bias: One number per filter, [F], or None.
        stride: Pixels from one output to the next; like padding and dilation, one number or (h, w).
        padding: Zeros around the maps, in pixels on each side.
        dilation: The rate: pixels from one tap to the next.
        groups: Groups of channels that are convolved each on its own.
        method: One of the methods above.

    Returns:
        Maps [N, F, Ho, Wo] of the dtype of `x`, Ho = (H + 2 padding - dilation (kh - 1) - 1) // stride + 1.

    Raises:
        RuntimeError: An argument breaks a rule; the message names the rule and the value found.

    Source:
        Chen et al. 2015, section 3.1; Caffe's conv_layer.cpp with the forks' `hole` (v1) or `dilation` (v2).

    Example:
        >>> import torch
        >>> from deeplab_repro import atrous_conv2d
        >>> x, weight = torch.rand(1, 4, 41, 41), torch.rand(8, 4, 3, 3)
        >>> atrous_conv2d(x, weight, padding=12, dilation=12).shape
        torch.Size([1, 8, 41, 41])
    """
    device = x.device.type
    if device in ("cpu", "cuda") and torch.is_autocast_enabled(device) and x.dtype != torch.float64:
        dtype = torch.get_autocast_dtype(device)
        x, weight = x.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    # ONNX has convolution, not our operator.
    if torch.compiler.is_exporting() and torch.onnx.is_in_onnx_export():
        return F.conv2d(x, weight, bias, pair(stride), pair(padding), pair(dilation), groups)
    return torch.ops.deeplab.atrous_conv2d(x, weight, bias, pair(stride), pair(padding), pair(dilation), groups, method)


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
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
    method: str = "auto",
    packed: bool = False,
) -> str:
    """The way `atrous_conv2d` goes with `method` for tensors like these.

    Args:
        x: Maps [N, C, H, W]; only size, dtype, device and memory format count.
        weight: Filters [F, C / groups, kh, kw]; as for `x`.
        stride: As in `atrous_conv2d`.
        padding: As in `atrous_conv2d`.
        dilation: As in `atrous_conv2d`.
        groups: As in `atrous_conv2d`.
        method: As in `atrous_conv2d`.
        packed: Whether weights are packed beforehand.

    Returns:
        The name of a method.

    Raises:
        RuntimeError: As `atrous_conv2d` does.

    Example:
        >>> import torch
        >>> from deeplab_repro import ops
        >>> ops.plan(torch.rand(1, 4, 9, 9), torch.rand(8, 4, 1, 1), method="winograd2")  # for 3x3 kernels alone
        'library'
    """
    window = pair(stride), pair(padding), pair(dilation)
    return torch.ops.deeplab.atrous_conv2d_plan(x, weight, *window, groups, method, packed)


def pack_weight(weight: Tensor, groups: int = 1, method: str = "direct") -> Tensor:
    """A weight as `atrous_conv2d_packed` reads it.

    Args:
        weight: Filters [F, C / groups, kh, kw], any floating dtype.
        groups: As in `atrous_conv2d`.
        method: One of `PACKED_METHODS`.

    Returns:
        The packed weight [elements], float64 or float32: F C kh kw / groups elements for "direct", 16/9 and 4 times as
        many for the Winograd methods, which take 3x3 kernels.

    Raises:
        RuntimeError: An argument breaks a rule; the message names the rule and the value found.

    Example:
        >>> import torch
        >>> from deeplab_repro import ops
        >>> ops.pack_weight(torch.rand(16, 16, 3, 3)).shape
        torch.Size([2304])
    """
    return torch.ops.deeplab.atrous_conv2d_pack(weight, groups, method)


def atrous_conv2d_packed(
    x: Tensor,
    weight: Tensor,
    packed: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
    method: str = "direct",
    relu: bool = False,
) -> Tensor:
    """`atrous_conv2d` with a weight packed beforehand, without gradients, then max(0, .) where `relu` asks for it.

    Args:
        x: Maps [N, C, H, W].
        weight: Filters [F, C / groups, kh, kw], of which only the sizes are read.
        packed: What `pack_weight` gives for this weight, these groups and this method.
        bias: One number per filter, [F], or None.
        stride: As in `atrous_conv2d`.
        padding: As in `atrous_conv2d`.
        dilation: As in `atrous_conv2d`.
        groups: As in `atrous_conv2d`.
        method: One of `PACKED_METHODS`.
        relu: Whether negative results become 0.

    Returns:
        Maps [N, F, Ho, Wo] of the dtype of `x`.

    Raises:
        RuntimeError: An argument breaks a rule; the message names the rule and the value found.

    Example:
        >>> import torch
        >>> from deeplab_repro import ops
        >>> x, weight = torch.rand(1, 4, 9, 9), torch.rand(8, 4, 3, 3)
        >>> packed = ops.pack_weight(weight)
        >>> y = ops.atrous_conv2d_packed(x, weight, packed, padding=2, dilation=2)
        >>> torch.allclose(y, ops.atrous_conv2d(x, weight, padding=2, dilation=2), rtol=1e-4)
        True
    """
    window = pair(stride), pair(padding), pair(dilation)
    return torch.ops.deeplab.atrous_conv2d_packed(x, weight, packed, bias, *window, groups, method, relu)


def add_bias_(maps: Tensor, bias: Tensor, relu: bool = False) -> Tensor:
    """Add a bias to maps in place, then max(0, .) where `relu` asks for it: one pass where the maps are channels_last.

    No gradients flow.

    Args:
        maps: Maps [N, F, H, W] of any floating dtype; they are overwritten.
        bias: One number per channel, [F], of the maps' dtype.
        relu: Whether negative results become 0.

    Returns:
        The maps given.

    Raises:
        RuntimeError: An argument breaks a rule; the message names the rule and the value found.

    Example:
        >>> import torch
        >>> from deeplab_repro import ops
        >>> ops.add_bias_(torch.zeros(1, 2, 1, 1), torch.tensor([3.0, -1.0]), relu=True).flatten()
        tensor([3., 0.])
    """
    torch.ops.deeplab.add_bias_(maps, bias, relu)
    return maps


def shift_add(values: Tensor, offsets: Sequence[tuple[int, int]]) -> Tensor:
    """The sum of shifted maps: output (y, x) sums values[:, y + dy, x + dx, t] over t, nothing where that lies outside.

    The operator is differentiable twice.

    Args:
        values: T maps of F channels each, [N, H, W, T, F], any floating dtype.
        offsets: One (dy, dx) in pixels per map.

    Returns:
        Maps [N, F, H, W] in channels_last memory.

    Raises:
        RuntimeError: There is not one offset per map.

    Example:
        >>> import torch
        >>> from deeplab_repro import ops
        >>> row = torch.arange(4.0).reshape(1, 1, 4, 1, 1)
        >>> ops.shift_add(row, [(0, 1)]).flatten()
        tensor([1., 2., 3., 0.])
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
