"""Layers with a weight matrix: Convolution, Deconvolution, InnerProduct, Embed; Parameter, which is one."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from deeplab_repro import ops
from deeplab_repro.layers.base import CaffeLayer, module
from deeplab_repro.layers.fillers import fill_
from prototxt_import import LayerSpec, NetSpec


class _Weighted(CaffeLayer):
    """Blobs `weight` and, with bias_term, `bias`."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, layer: LayerSpec, spec: NetSpec) -> None:
        super().__init__(layer, spec)
        self.add_blob("weight", self.options.weight_filler)
        if self.options.bias_term:
            self.add_blob("bias", self.options.bias_filler)
        else:
            self.bias = None

    def forward(self, *bottoms: Tensor) -> Tensor | tuple[Tensor, ...]:
        tops = tuple(self.apply_to(x) for x in bottoms)
        return tops[0] if len(tops) == 1 else tops

    def apply_to(self, x: Tensor) -> Tensor:
        raise NotImplementedError


@module("Convolution")
class Convolution(_Weighted):
    """Atrous convolution; weight [Cout, Cin/group, kh, kw]. Several bottoms give as many tops, by the same weights."""

    fresh_top = any_layout = low_precision = True

    def apply_to(self, x: Tensor) -> Tensor:
        o = self.options
        rows, columns = o.overhang(x.shape[-2], x.shape[-1]) if max(o.kernel) > 1 else (0, 0)
        if rows or columns:
            x = F.pad(x, (0, columns, 0, rows))
        return ops.atrous_conv2d(x, self.weight, self.bias, o.stride, o.pad, o.dilation, o.group)


@module("Im2col")
class Im2col(CaffeLayer):
    """The windows of a convolution as channels, zeros beyond the map."""

    def forward(self, x: Tensor) -> Tensor:
        o = self.options
        n, channels, rows, columns = o.shapes([tuple(x.shape)], 1)[0]
        return F.unfold(x, o.kernel, o.dilation, o.pad, o.stride).reshape(n, channels, rows, columns)


@module("Deconvolution")
class Deconvolution(_Weighted):
    """Transposed convolution; weight [Cin, Cout/group, kh, kw]."""

    fresh_top = any_layout = True

    def apply_to(self, x: Tensor) -> Tensor:
        o = self.options
        return F.conv_transpose2d(x, self.weight, self.bias, o.stride, o.pad, 0, o.group, o.dilation)


@module("InnerProduct")
class InnerProduct(_Weighted):
    """x flattened from `axis`, times the weight [N, K] ([K, N] with transpose), plus the bias."""

    fresh_top = True

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the blobs anew; in v1 the weight is (1, 1, N, K), of whose items a filler counts one."""
        super().reset_parameters(generator)
        filler = self.options.weight_filler
        if self.options.four_axes and filler.type in ("xavier", "positive_unitball"):
            fill_(self.weight.detach()[None, None], filler, generator)

    def apply_to(self, x: Tensor) -> Tensor:
        o = self.options
        weight = self.weight.t() if o.transpose else self.weight
        y = F.linear(x.flatten(o.axis % x.dim()), weight, self.bias)
        return y[..., None, None] if o.four_axes else y


@module("Embed")
class Embed(_Weighted):
    """Rows of the weight [input_dim, num_output] picked by the indices in x, which are cut down to integers."""

    def apply_to(self, x: Tensor) -> Tensor:
        index, rows = x.detach().to(torch.int64), self.weight.shape[0]
        outside = (index < 0) | (index >= rows)
        if bool(outside.any()):
            raise self.fail(f"index {int(index[outside][0])} is outside the {rows} rows of its weight")
        picked = F.embedding(index, self.weight)
        return picked if self.bias is None else picked + self.bias


@module("Parameter")
class Parameter(CaffeLayer):
    """A learnable blob as a top."""

    value: Tensor

    def __init__(self, layer: LayerSpec, spec: NetSpec) -> None:
        super().__init__(layer, spec)
        self.add_blob("value")

    def forward(self) -> Tensor:
        return self.value.view_as(self.value)
