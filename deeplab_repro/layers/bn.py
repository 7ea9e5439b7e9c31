"""BN as PSPNet (four blobs) and as SegNet, ENet and DeconvNet (two) have it."""

from __future__ import annotations

import torch
from torch import Tensor

from deeplab_repro.layers.base import CaffeLayer, module
from prototxt_import import Filler, LayerSpec, NetSpec


@module("BN")
class BN(CaffeLayer):
    """Normalisation per channel (axis 1) with slope and bias; every blob is [1, C, 1, 1].

    Four blobs: TEST and `frozen` use the stored mean and variance; TRAIN those of the batch, of which 1 - momentum
    goes into the stored ones, the variance biased. The gradient is always that of the forward pass; Caffe's is not in
    TEST without `frozen`. Two blobs: LEARN uses the batch in every phase, INFERENCE is x * scale + shift; a second and
    third top hold the batch's mean and biased variance, without gradient."""

    weight: Tensor
    bias: Tensor
    mean: Tensor
    variance: Tensor

    def __init__(self, layer: LayerSpec, spec: NetSpec) -> None:
        super().__init__(layer, spec)
        o = self.options
        self.add_blob("weight", o.slope_filler)
        self.add_blob("bias", o.bias_filler)
        if o.blobs == 4:
            self.add_blob("mean")
            self.add_blob("variance", Filler(value=1.0 if o.frozen else 0.0))
        for index in o.fixed_blobs():
            self.blobs()[index].requires_grad_(False)
        self.stored = o.blobs == 4 and (o.frozen or spec.phase == "TEST")

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        o = self.options
        if self.stored or (o.blobs == 2 and o.bn_mode == "INFERENCE"):
            scale, shift = self._map(*self.blobs())
            return torch.addcmul(self._row(shift, x), x, self._row(scale, x))
        if not x.numel():
            # Nothing to take statistics of, and nothing that they would change.
            none = torch.zeros_like(self.weight), torch.zeros_like(self.weight)
            return (x * 1, *none)[: len(self.layer.tops)] if len(self.layer.tops) > 1 else x * 1
        y = torch.batch_norm(
            x,
            self.weight.reshape(-1),
            self.bias.reshape(-1),
            None,
            None,
            True,
            0.0,
            o.eps,
            torch.backends.cudnn.enabled,
        )
        if o.blobs == 2 and len(self.layer.tops) < 2:
            return y
        with torch.no_grad():
            axes = [axis for axis in range(x.dim()) if axis != 1]
            variance, mean = torch.var_mean(x, axes, correction=0)
            if o.blobs == 4:
                for blob, batch in ((self.mean, mean), (self.variance, variance)):
                    blob.mul_(o.momentum).add_(batch.reshape(blob.shape), alpha=1 - o.momentum)
                return y
        tops = (y, mean.reshape(self.weight.shape), variance.reshape(self.weight.shape))
        return tops[: len(self.layer.tops)]

    def channel_map(self) -> tuple[Tensor, Tensor]:
        scale, shift = self._map(*(blob.detach().double() for blob in self.blobs()))
        return scale.reshape(-1), shift.reshape(-1)

    def _map(self, weight: Tensor, bias: Tensor, *stored: Tensor) -> tuple[Tensor, Tensor]:
        """Factor and summand per channel where no batch has a say."""
        if not stored:
            return weight, bias
        mean, variance = stored
        scale = weight * torch.rsqrt(variance + self.options.eps)
        return scale, bias - mean * scale

    @staticmethod
    def _row(blob: Tensor, x: Tensor) -> Tensor:
        return blob.reshape([1, -1] + [1] * (x.dim() - 2))
