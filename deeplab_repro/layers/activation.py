"""Elementwise layers: activations, Dropout and the arithmetic ones."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from deeplab_repro.layers.base import CaffeLayer, module
from prototxt_import import LayerSpec, NetSpec


@module("ReLU")
class ReLU(CaffeLayer):
    """max(0, x) + negative_slope * min(0, x); at exactly 0 the gradient is the slope."""

    any_layout = low_precision = True

    def forward(self, x: Tensor) -> Tensor:
        slope = self.options.negative_slope
        return F.leaky_relu(x, slope) if slope else F.relu(x)


@module("PReLU")
class PReLU(CaffeLayer):
    """max(0, x) + slope * min(0, x) with a learned slope per channel, or one for all."""

    any_layout = True
    slope: Tensor

    def __init__(self, layer: LayerSpec, spec: NetSpec) -> None:
        super().__init__(layer, spec)
        self.add_blob("slope", self.options.filler)

    def forward(self, x: Tensor) -> Tensor:
        return F.prelu(x, self.slope.reshape(-1))


@module("ELU")
class ELU(CaffeLayer):
    """x where positive, else alpha (e^x - 1)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.elu(x, self.options.alpha)


@module("Sigmoid")
class Sigmoid(CaffeLayer):
    """1 / (1 + e^-x)."""

    any_layout = True

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(x)


@module("TanH")
class TanH(CaffeLayer):
    """Hyperbolic tangent."""

    any_layout = True

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x)


@module("AbsVal")
class AbsVal(CaffeLayer):
    """|x|, with gradient 0 at 0."""

    def forward(self, x: Tensor) -> Tensor:
        return x.abs()


@module("BNLL")
class BNLL(CaffeLayer):
    """log(1 + e^x)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.softplus(x)


@module("Power")
class Power(CaffeLayer):
    """(shift + scale x) ^ power."""

    def forward(self, x: Tensor) -> Tensor:
        o = self.options
        base = x if o.scale == 1 and o.shift == 0 else x * o.scale + o.shift
        return base if o.power == 1 else base**o.power


@module("Exp")
class Exp(CaffeLayer):
    """base ^ (shift + scale x); base -1 stands for e."""

    def forward(self, x: Tensor) -> Tensor:
        o = self.options
        rate = 1.0 if o.base == -1 else math.log(o.base)
        return torch.exp((x * o.scale + o.shift) * rate)


@module("Log")
class Log(CaffeLayer):
    """Logarithm to the given base of (shift + scale x); base -1 stands for e."""

    def forward(self, x: Tensor) -> Tensor:
        o = self.options
        rate = 1.0 if o.base == -1 else 1.0 / math.log(o.base)
        return torch.log(x * o.scale + o.shift) * rate


@module("Swish")
class Swish(CaffeLayer):
    """x sigmoid(beta x)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(x * self.options.beta)


@module("Clip")
class Clip(CaffeLayer):
    """x held between min and max; both bounds let the gradient through."""

    any_layout = True

    def forward(self, x: Tensor) -> Tensor:
        low, high = self.options.min, self.options.max
        if x.requires_grad and torch.is_grad_enabled() and not torch.compiler.is_compiling():
            return _Clip.apply(x, low, high)
        return x.clamp(low, high)


@lru_cache
def _beyond(low: float, high: float, dtype: torch.dtype) -> tuple[float, float]:
    """The neighbours of two bounds outside of them: hardtanh stops the gradient at its bounds, Clip lets it through."""
    bounds = torch.tensor([low, high], dtype=dtype)
    below, above = torch.nextafter(bounds, torch.tensor([-math.inf, math.inf], dtype=dtype)).tolist()
    return below, above


class _Clip(torch.autograd.Function):
    """Clip with its gradient in one pass, where clamp's takes four over all values."""

    @staticmethod
    def forward(ctx, x: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.bounds = _beyond(low, high, x.dtype)
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(grad, x, *ctx.bounds), None, None


@module("Threshold")
class Threshold(CaffeLayer):
    """1 where x exceeds the threshold, else 0; without gradient."""

    def forward(self, x: Tensor) -> Tensor:
        return (x > self.options.threshold).to(x.dtype)


@module("Dropout")
class Dropout(CaffeLayer):
    """Identity in phase TEST; in TRAIN keeps each value with probability 1 - ratio and scales it by 1 / (1 - ratio).

    With sample_in_test (Bayesian SegNet) TEST draws as TRAIN does.

    mask: zeros and ones in place of random draws, as many as x has values."""

    any_layout = True

    takes_mask = True

    def __init__(self, layer: LayerSpec, spec: NetSpec) -> None:
        super().__init__(layer, spec)
        self.active = spec.phase == "TRAIN" or self.options.sample_in_test

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if not self.active:
            return x
        ratio = self.options.ratio
        if mask is None:
            return F.dropout(x, ratio, training=True)
        if mask.numel() != x.numel():
            raise self.fail(f"its mask has shape {tuple(mask.shape)}, the blob {tuple(x.shape)}")
        return x * mask.to(x).reshape(x.shape) * (1.0 / (1.0 - ratio))
