"""Parallel atrous convolutions in one launch (csrc/core/pyramid.h), with their gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from deeplab_repro import ops as ops  # loads the extension, which registers the operator

__all__ = ["applies", "pyramid_conv2d"]

_MOST_BRANCHES = 4
_MOST_SEGMENTS = 17  # of an axis, within which the valid taps stay the same
_TYPES = (torch.float32, torch.float16, torch.bfloat16)


def applies(x: Tensor, weights: Sequence[Tensor], rates: Sequence[int], summed: bool) -> bool:
    """Whether the CUDA kernel takes branches like these: at most four, equal in shape, of float32, float16 or
    bfloat16 with channels and filters in multiples of 16 bytes, reduced types from compute capability 8.0 on."""
    first = weights[0]
    kernel, unit = first.shape[2], 16 // x.element_size()
    segments = len(rates) * (kernel - 1) + 1 if summed else kernel
    return (
        len(rates) <= _MOST_BRANCHES
        and segments <= _MOST_SEGMENTS
        and (summed or len(rates) * segments**2 <= _MOST_SEGMENTS**2)
        and x.dtype in _TYPES
        and all(weight.shape == first.shape and weight.dtype == x.dtype for weight in weights)
        and first.shape[0] % unit == 0
        and first.shape[1] % unit == 0
        and (x.dtype == torch.float32 or torch.cuda.get_device_capability(x.device)[0] >= 8)
        and not torch.is_autocast_enabled(x.device.type)
    )


def pyramid_conv2d(
    inputs: Sequence[Tensor],
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    rates: Sequence[int],
    summed: bool = True,
    relu: bool = False,
) -> list[Tensor]:
    """Atrous convolutions that keep the map's size, in one launch: outputs [N, F, H, W], channels_last.

    inputs [N, C, H, W]: one for all branches or one per branch; per branch weights [F, C, k, k] with odd k and a rate;
    biases [F]: one per output or none. One output, the branches' sum, if `summed`, else one per branch; then max(0, .)
    if `relu`. On CUDA a kernel for what `applies` says, sums in float32, products in TensorFloat-32 where torch's
    convolutions may use it; on the CPU plain loops for float32 and float64 that check it. Deterministic.
    Differentiable twice without `relu`.

    Raises RuntimeError that names the rule and the value found.
    """
    return torch.ops.deeplab.pyramid_conv2d(list(inputs), list(weights), list(biases), list(rates), summed, relu)


def _save(ctx, inputs, output) -> None:
    sources, weights, biases, ctx.rates, ctx.summed, ctx.relu = inputs
    ctx.sources, ctx.biases = len(sources), len(biases)
    ctx.save_for_backward(*sources, *weights)


def _mirrored(weight: Tensor) -> Tensor:
    """The weight whose convolution is the input gradient of `weight`'s."""
    return weight.transpose(0, 1).flip(2, 3)


def _backward(ctx, grads: Sequence[Tensor]):
    if ctx.relu:
        raise RuntimeError("pyramid_conv2d: no gradient is implemented with relu; apply torch.relu to the outputs")
    saved = ctx.saved_tensors
    sources, weights = saved[: ctx.sources], saved[ctx.sources :]
    one_for_all = ctx.sources == 1
    to_inputs = to_weights = None
    if any(ctx.needs_input_grad[0]):
        # What came from one input is summed over the branches.
        to_inputs = pyramid_conv2d(grads, [_mirrored(weight) for weight in weights], [], ctx.rates, one_for_all)
    if any(ctx.needs_input_grad[1]):
        to_weights = []
        for b, (weight, rate) in enumerate(zip(weights, ctx.rates, strict=True)):
            padding = rate * (weight.shape[2] // 2)
            window = [1, 1], [padding] * 2, [rate] * 2, 1, "direct"
            of_branch = grads[0 if ctx.summed else b], sources[0 if one_for_all else b]
            wanted = [False, True, False]
            to_weights.append(torch.ops.deeplab.atrous_conv2d_backward(*of_branch, weight, *window, wanted)[1])
    to_biases = [grad.sum((0, 2, 3)) for grad in grads] if ctx.biases else []
    return to_inputs, to_weights, to_biases, None, None, None


torch.library.register_autograd("deeplab::pyramid_conv2d", _backward, setup_context=_save)
