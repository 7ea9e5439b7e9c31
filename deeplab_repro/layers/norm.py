"""Normalisation and per-channel affine layers: BatchNorm, Scale, Bias, LRN, MVN."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from deeplab_repro.layers.base import CaffeLayer, module
from prototxt_import import LayerSpec, NetSpec


class _Broadcast(CaffeLayer):
    """A layer with operands of shape x.shape[axis : axis + n]."""

    @staticmethod
    def spread(operand: Tensor, x: Tensor, axis: int) -> Tensor:
        axis %= x.dim()
        return operand.reshape(operand.shape + (1,) * (x.dim() - axis - operand.dim()))


@module("BatchNorm")
class BatchNorm(_Broadcast):
    """(x - mu) / sqrt(var + eps), without the affine part, which Caffe leaves to a Scale layer.

    Blobs: mean sum [C], variance sum [C] and the factor [1] both are divided by (a factor of 0 makes both 0). They
    never take gradients. Without use_global_stats mu and var are the batch's, and every pass folds them into the
    blobs as BVLC Caffe does; DeepLab v2's own fork cannot do that, its published nets use the stored statistics."""

    fresh_top = any_layout = low_precision = True
    mean: Tensor
    variance: Tensor
    factor: Tensor

    def __init__(self, layer: LayerSpec, spec: NetSpec) -> None:
        super().__init__(layer, spec)
        for name in ("mean", "variance", "factor"):
            self.add_blob(name)
            getattr(self, name).requires_grad_(False)
        if self.options.update_global_stats and spec.phase == "TRAIN":
            raise self.fail("update_global_stats is not supported; no published net uses it")

    def forward(self, x: Tensor) -> Tensor:
        if not self.options.use_global_stats:
            return self._batch_norm(x)
        scale, shift = self._stored(self.mean.detach(), self.variance.detach(), self.factor.detach())
        # F.batch_norm would keep x for a gradient of the statistics that nobody asks for.
        return torch.addcmul(self.spread(shift, x, 1), x, self.spread(scale, x, 1))

    def channel_map(self) -> tuple[Tensor, Tensor]:
        return self._stored(*(blob.detach().double() for blob in self.blobs()))

    def _stored(self, mean: Tensor, variance: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
        """Factor and summand per channel from the stored statistics."""
        share = torch.where(factor == 0, torch.zeros_like(factor), 1 / factor)
        scale = torch.rsqrt(variance * share + self.options.eps)
        return scale, mean * share * -scale

    def _batch_norm(self, x: Tensor) -> Tensor:
        # With a momentum of 1 the running statistics are the batch's, the variance unbiased as Caffe keeps it: one
        # pass over x for both uses.
        mean, variance = (blob.new_zeros(blob.shape) for blob in (self.mean, self.variance))
        if x.numel() == mean.numel():
            # One value a channel is its own mean: torch refuses it, Caffe keeps the variance 0 as it is.
            mean, y = x.detach().reshape(mean.shape), x - x
        else:
            y = F.batch_norm(x, mean, variance, training=True, momentum=1.0, eps=self.options.eps)
        fraction = self.options.moving_average_fraction
        with torch.no_grad():
            self.mean.mul_(fraction).add_(mean)
            self.variance.mul_(fraction).add_(variance)
            self.factor.mul_(fraction).add_(1)
        return y


@module("Scale")
class Scale(_Broadcast):
    """x * gamma (+ beta). gamma is the blob `weight`, or the second bottom where there is one; beta the blob `bias`."""

    fresh_top = any_layout = low_precision = True
    weight: Tensor
    bias: Tensor | None

    def __init__(self, layer: LayerSpec, spec: NetSpec) -> None:
        super().__init__(layer, spec)
        if len(layer.bottoms) == 1:
            self.add_blob("weight", self.options.filler)
        if self.options.bias_term:
            self.add_blob("bias", self.options.bias_filler)
        else:
            self.bias = None

    def forward(self, x: Tensor, gamma: Tensor | None = None) -> Tensor:
        axis = self.options.axis
        gamma = self.spread(self.weight if gamma is None else gamma, x, axis)
        return x * gamma if self.bias is None else torch.addcmul(self.spread(self.bias, x, axis), x, gamma)

    def channel_map(self) -> tuple[Tensor, Tensor]:
        gamma, *beta = (blob.detach().double() for blob in self.blobs())
        return gamma, beta[0] if beta else torch.zeros_like(gamma)


@module("Bias")
class Bias(_Broadcast):
    """x + beta; beta is the blob `bias`, or the second bottom where there is one."""

    fresh_top = any_layout = low_precision = True
    bias: Tensor

    def __init__(self, layer: LayerSpec, spec: NetSpec) -> None:
        super().__init__(layer, spec)
        if len(layer.bottoms) == 1:
            self.add_blob("bias", self.options.filler)

    def forward(self, x: Tensor, beta: Tensor | None = None) -> Tensor:
        return x + self.spread(self.bias if beta is None else beta, x, self.options.axis)

    def channel_map(self) -> tuple[Tensor, Tensor]:
        beta = self.bias.detach().double()
        return torch.ones_like(beta), beta


@module("LRN")
class LRN(CaffeLayer):
    """Local response normalisation across channels, or within each channel (where Caffe takes k as 1)."""

    def forward(self, x: Tensor) -> Tensor:
        o = self.options
        if o.norm_region == "ACROSS_CHANNELS":
            return F.local_response_norm(x, o.local_size, o.alpha, o.beta, o.k)
        mean = F.avg_pool2d(x * x, o.local_size, 1, o.local_size // 2)
        return x * (1 + o.alpha * mean) ** -o.beta


@module("MVN")
class MVN(CaffeLayer):
    """Mean removed and, with normalize_variance, divided by (standard deviation + eps): per plane, or per item."""

    def forward(self, x: Tensor) -> Tensor:
        o = self.options
        # Axes that a bottom lacks count as 1, as in Caffe.
        rows = x.reshape(*x.shape, *(1,) * (4 - x.dim())).flatten(1 if o.across_channels else 2)
        mean = rows.mean(-1, keepdim=True)
        rows = rows - (mean.detach() if o.fixed_mean else mean)
        if o.normalize_variance:
            variance = (rows * rows).mean(-1, keepdim=True)
            # The root has no derivative at 0; Caffe's gradient of a constant plane is that of a fixed deviation.
            varies = variance > 0
            deviation = torch.where(varies, torch.where(varies, variance, 1).sqrt(), 0)
            rows = rows / (deviation + o.eps)
        return rows.reshape(x.shape)
