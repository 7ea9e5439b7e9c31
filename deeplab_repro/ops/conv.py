"""The operators of the torch library ``deeplab``: typed wrappers and their gradients.

The C++ side (``csrc/``) registers schemas, CPU, CUDA and Meta kernels, and checks every argument; a wrong one raises
``RuntimeError`` naming operator, rule and value found.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from deeplab_repro.ops.unrolled import meanfield_backward, meanfield_unrolled, save_problem

__all__ = [
    "PACKED_METHODS",
    "Lattice",
    "add_bias_",
    "atrous_conv2d",
    "atrous_conv2d_packed",
    "col2im",
    "im2col",
    "lattice_build",
    "lattice_filter",
    "meanfield",
    "meanfield_exact",
    "meanfield_unrolled",
    "spatial_order",
]


def _load_extension() -> None:
    """Import ``_C``, turning the two usual failures into one clear line each."""
    try:
        from deeplab_repro.ops import _C
    except ImportError as error:
        raise ImportError(
            "deeplab_repro: the C++ extension does not load under torch "
            f"{torch.__version__}; build it here with: pip install --no-build-isolation . ({error})"
        ) from error

    def release(version: str) -> str:
        match = re.match(r"\d+\.\d+", version)
        return match.group() if match else version

    if release(_C.torch_version) != release(torch.__version__):
        raise ImportError(
            f"deeplab_repro: the C++ extension was built for torch {_C.torch_version}, but torch {torch.__version__} "
            "is running; build it again with: pip install --no-build-isolation --force-reinstall --no-deps ."
        )


_load_extension()

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


def col2im(
    columns: Tensor, size: _Pair, kernel: _Pair, stride: _Pair = 1, padding: _Pair = 0, dilation: _Pair = 1
) -> Tensor:
    """Adjoint of `im2col`: columns [N, C * kh * kw, Ho * Wo] -> [N, C, H, W], size = (H, W).

    Each position sums what its samples carry, in tap order: deterministic on both devices. Dtypes as in `im2col`.

    Raises RuntimeError where the columns do not fit the window, or for another dtype.
    """
    return torch.ops.deeplab.col2im(columns, _pair(size), _pair(kernel), _pair(stride), _pair(padding), _pair(dilation))


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

    - "auto": the fastest way, by the cost model of csrc/core/conv_plan.h, whose float32 error stays within 2e-6 of
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
    On CUDA the cost model is that of csrc/core/conv_plan_cuda.h, whose constants are estimates, unless
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


class Lattice(NamedTuple):
    """A permutohedral lattice over N points of d features, as ``lattice_build`` returns it."""

    vertices: Tensor  # [N, d + 1] int32: the vertex of each corner of a point's simplex
    weights: Tensor  # [N, d + 1]: its barycentric weight
    neighbors: Tensor  # [N (d + 1), d + 1, 2] int32: before and after along each axis, -1 for none
    entries: Tensor  # [N (d + 1)] int32: corners grouped by vertex
    offsets: Tensor  # [N (d + 1) + 1] int32: each vertex's group
    count: Tensor  # [1] int64: vertices V; rows past V hold -1, or N (d + 1) in offsets


def lattice_build(features: Tensor) -> Lattice:
    """Build the lattice of ``features`` [N, d], float32 or float64, already divided by their standard deviations.

    Vertices are numbered by first appearance, on every device and for any number of threads. Raises RuntimeError for
    features that are not finite or lie beyond 1e9 lattice units, for d outside 1..64 and for N (d + 1) >= 2^30.
    Source: Adams, Baek and Davis 2010; the rounding of Kraehenbuehl's dense CRF code.
    """
    return Lattice(*torch.ops.deeplab.lattice_build(features))


def lattice_filter(values: Tensor, lattice: Lattice, reverse: bool = False) -> Tensor:
    """Splat ``values`` [N, C], blur along axes 0..d (d..0 when ``reverse``) and slice: [N, C], not normalised.

    Same dtype and device as the lattice's weights. Differentiable in ``values``: the reverse-order filter is the
    exact adjoint. A neighbour that no point splats to counts as 0, as in the reference. Raises RuntimeError for another
    number of points, another dtype or device, or tables that are no lattice's.
    """
    return torch.ops.deeplab.lattice_filter(values, *lattice, reverse)


def meanfield(
    unary: Tensor,
    features: Sequence[Tensor],
    kernel_weights: Sequence[float],
    compatibility: Tensor | None = None,
    normalization: str = "after",
    iterations: int = 10,
    storage: str = "same",
) -> Tensor:
    """Mean-field marginals [B, L, P] of a fully connected CRF with energies ``unary`` [B, L, P].

    All tensors are float32 or all float64, on one device. ``features[m]`` [B or 1, P, d] are the m-th kernel's, divided
    by their standard deviations; ``kernel_weights[m]`` multiplies its normalised filter; B M weights, image after
    image, give each image its own, over one lattice where the features are shared. ``compatibility`` is the energy
    between labels, [L] (diagonal) or [L, L], in place of Potts' -1. ``normalization``: "no", "before", "after" or
    "symmetric". Differentiable in ``unary`` and ``compatibility`` (`meanfield_unrolled` also in the weights); no
    gradient to the features: backward raises RuntimeError. Raises RuntimeError, naming the argument, for shapes or
    dtypes that do not belong together, features that are not finite, and an unknown normalization or storage. Source:
    Kraehenbuehl and Koltun 2011; self term included as in their code.

    ``storage="float16"``, on CUDA and for float32 alone, keeps marginals and lattice values in half precision between
    the steps (sums in float32): half the memory traffic, marginals off by some 1e-2 where iterations amplify it. Other
    devices refuse it. CUDA takes at most 8 kernels; a batch that does not fit its memory runs in parts, one image that
    does not fit raises torch.cuda.OutOfMemoryError.
    """
    return torch.ops.deeplab.meanfield(
        unary, list(features), list(kernel_weights), compatibility, normalization, iterations, storage
    )


def _save_window(ctx, inputs, output) -> None:
    input, *ctx.window = inputs
    ctx.size = input.shape[2:]


def _im2col_backward(ctx, grad: Tensor):
    return torch.ops.deeplab.col2im(grad, ctx.size, *ctx.window), None, None, None, None


def _save_window_of_columns(ctx, inputs, output) -> None:
    _columns, _size, *ctx.window = inputs


def _col2im_backward(ctx, grad: Tensor):
    return torch.ops.deeplab.im2col(grad, *ctx.window), None, None, None, None, None


def _save_conv(ctx, inputs, output) -> None:
    input, weight, bias, *ctx.options = inputs
    ctx.save_for_backward(input, weight)
    ctx.has_bias = bias is not None


def _atrous_conv2d_backward(ctx, grad: Tensor):
    wanted = [*ctx.needs_input_grad[:2], ctx.has_bias and ctx.needs_input_grad[2]]
    grads = torch.ops.deeplab.atrous_conv2d_backward(grad, *ctx.saved_tensors, *ctx.options, wanted)
    return *grads, None, None, None, None, None


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


def meanfield_exact(
    unary: Tensor,
    features: Sequence[Tensor],
    kernel_weights: Sequence[float],
    compatibility: Tensor | None = None,
    normalization: str = "after",
    iterations: int = 10,
    skip_below: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """As `meanfield`, over all pairs of points instead of a lattice: (marginals [B, L, P], error_bound [B] float64).

    Time grows with P^2. Pairs of blocks of 64 consecutive points whose weights all lie below ``skip_below`` are left
    out; order the points so that close ones follow each other (`spatial_order`). ``error_bound`` bounds what that did
    to any marginal of the image, rounding aside; 0 where nothing is skipped, at most 1. No gradient. dtypes and errors
    as of `meanfield`; also RuntimeError for a ``skip_below`` outside 0..1.
    """
    return torch.ops.deeplab.meanfield_exact(
        unary, list(features), list(kernel_weights), compatibility, normalization, iterations, skip_below
    )


def spatial_order(features: Tensor, block: int = 64) -> Tensor:
    """An order of ``features`` [P, d] in which blocks of ``block`` consecutive points lie close together: [P] int64.

    The leaves of a k-d tree: every part is split near the median of its widest feature, at a multiple of a block.
    """
    points, d = features.shape
    order = torch.arange(points, device=features.device)
    parts = [points]
    while max(parts) > block:
        node = torch.arange(len(parts), device=order.device).repeat_interleave(
            torch.tensor(parts, device=order.device), output_size=points
        )
        index, values = node[:, None].expand(-1, d), features[order]
        high = values.new_full((len(parts), d), -torch.inf).scatter_reduce(0, index, values, "amax")
        low = values.new_full((len(parts), d), torch.inf).scatter_reduce(0, index, values, "amin")
        widest = (high - low).argmax(1)
        by_value = values.gather(1, widest[node][:, None])[:, 0].argsort(stable=True)
        order = order[by_value[node[by_value].argsort(stable=True)]]
        halves = [(-(-part // (2 * block)) * block, part) if part > block else (part, part) for part in parts]
        parts = [size for left, part in halves for size in (left, part - left) if size]
    return order


def _save_offsets(ctx, inputs, output) -> None:
    _tensor, *ctx.offsets = inputs


def _shift_add_backward(ctx, grad: Tensor):
    return torch.ops.deeplab.shift_gather(grad, *ctx.offsets), None, None


def _shift_gather_backward(ctx, grad: Tensor):
    return torch.ops.deeplab.shift_add(grad, *ctx.offsets), None, None


def _lattice_filter_setup(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs[1:7])
    ctx.reverse = inputs[7]


def _lattice_filter_backward(ctx, grad: Tensor):
    grad_values = torch.ops.deeplab.lattice_filter(grad.contiguous(), *ctx.saved_tensors, not ctx.reverse)
    return grad_values, None, None, None, None, None, None, None


def _refuse_gradients(ctx, *grads: Tensor):
    raise RuntimeError('meanfield_exact: no gradient is implemented; use the lattice ("meanfield"), which has one')


torch.library.register_autograd("deeplab::im2col", _im2col_backward, setup_context=_save_window)
torch.library.register_autograd("deeplab::col2im", _col2im_backward, setup_context=_save_window_of_columns)
torch.library.register_autograd("deeplab::atrous_conv2d", _atrous_conv2d_backward, setup_context=_save_conv)
torch.library.register_autograd(
    "deeplab::atrous_conv2d_backward", _atrous_conv2d_double_backward, setup_context=_save_conv_backward
)
torch.library.register_autograd("deeplab::shift_add", _shift_add_backward, setup_context=_save_offsets)
torch.library.register_autograd("deeplab::shift_gather", _shift_gather_backward, setup_context=_save_offsets)
torch.library.register_autograd(
    "deeplab::lattice_filter", _lattice_filter_backward, setup_context=_lattice_filter_setup
)
torch.library.register_autograd("deeplab::meanfield_exact", _refuse_gradients)
torch.library.register_autograd("deeplab::meanfield", meanfield_backward, setup_context=save_problem)
