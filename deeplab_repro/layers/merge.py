"""Layers that join, part, pick or re-arrange blobs."""

from __future__ import annotations

import torch
from torch import Tensor

from deeplab_repro.layers.base import CaffeLayer, module


class _QuotientProduct(torch.autograd.Function):
    """Product whose gradient is top / x, as Caffe computes it with stable_prod_grad: false (0/0 where x is 0)."""

    @staticmethod
    def forward(ctx, *factors: Tensor) -> Tensor:
        product = factors[0]
        for x in factors[1:]:
            product = product * x
        ctx.save_for_backward(product, *factors)
        return product

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, ...]:
        product, *factors = ctx.saved_tensors
        return tuple(product / x * grad for x in factors)


@module("Eltwise")
class Eltwise(CaffeLayer):
    """SUM with coefficients, PROD or MAX of blobs of one shape.

    At equal maxima the gradient goes where Caffe's CPU code sends it: bottom 1 beats bottom 0, a later bottom has to
    be strictly greater. (Its GPU code lets any later bottom win a tie; the values agree.)"""

    fresh_top = any_layout = low_precision = True

    def forward(self, *bottoms: Tensor) -> Tensor:
        o = self.options
        first, *rest = bottoms
        if any(x.shape != first.shape for x in rest):
            raise self.fail(f"bottoms differ in shape: {', '.join(str(tuple(x.shape)) for x in bottoms)}")
        if o.operation == "SUM":
            coeffs = o.coeffs or (1.0,) * len(bottoms)
            top = first if coeffs[0] == 1 else first * coeffs[0]
            for x, coeff in zip(rest, coeffs[1:], strict=True):
                top = torch.add(top, x, alpha=coeff)
            return top
        if o.operation == "PROD":
            if not o.stable_prod_grad:
                return _QuotientProduct.apply(*bottoms)
            top = first
            for x in rest:
                top = top * x
            return top
        top = torch.where(first > rest[0], first, rest[0]) if rest else first
        for x in rest[1:]:
            top = torch.where(x > top, x, top)
        return top


@module("SpatialProduct")
class SpatialProduct(CaffeLayer):
    """Each channel of x [N, C, H, W] times the factor [N, 1, H, W], whose gradient is a sum over channels."""

    fresh_top = any_layout = True

    def forward(self, x: Tensor, factor: Tensor) -> Tensor:
        if factor.shape != (x.shape[0], 1, *x.shape[2:]):
            raise self.fail(f"bottoms do not fit: {tuple(x.shape)} and {tuple(factor.shape)}")
        return x * factor


@module("Concat")
class Concat(CaffeLayer):
    """Bottoms joined along an axis."""

    fresh_top = any_layout = low_precision = True

    def forward(self, *bottoms: Tensor) -> Tensor:
        return torch.cat(bottoms, self.options.axis)


@module("Slice")
class Slice(CaffeLayer):
    """One bottom cut along an axis at slice_points, or into equal parts."""

    any_layout = low_precision = True

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        axis = self.options.axis
        shapes = self.options.shapes([tuple(x.shape)], len(self.layer.tops))
        return x.split([shape[axis] for shape in shapes], axis)


@module("Split")
class Split(CaffeLayer):
    """The bottom under several names."""

    any_layout = low_precision = True

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(x.view_as(x) for _ in self.layer.tops)


@module("Flatten")
class Flatten(CaffeLayer):
    """Axes from `axis` to `end_axis` joined into one."""

    def forward(self, x: Tensor) -> Tensor:
        y = x.flatten(self.options.axis, self.options.end_axis)
        return y[..., None, None] if self.options.four_axes else y


@module("Reshape")
class Reshape(CaffeLayer):
    """New dimensions for `num_axes` axes from `axis` on: 0 copies the old one, -1 is whatever is left."""

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(self.options.shapes([tuple(x.shape)], 1)[0])


@module("Permute")
class Permute(CaffeLayer):
    """Axes in another order, laid out anew as a Caffe blob is."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(self.options.axes(x.dim())).contiguous()


@module("Silence")
class Silence(CaffeLayer):
    """Takes blobs nobody else wants."""

    def forward(self, *bottoms: Tensor) -> tuple[()]:
        return ()


@module("Tile")
class Tile(CaffeLayer):
    """The bottom repeated along an axis."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x] * self.options.tiles, self.options.axis)


@module("Reduction")
class Reduction(CaffeLayer):
    """SUM, ASUM (of absolute values), SUMSQ (of squares) or MEAN over all axes from `axis` on, times coeff."""

    def forward(self, x: Tensor) -> Tensor:
        o = self.options
        rows = x.reshape(*x.shape[: o.axis % x.dim() if x.dim() else 0], -1)
        if o.operation == "MEAN":
            return rows.mean(-1) * o.coeff
        if o.operation == "ASUM":
            rows = rows.abs()
        elif o.operation == "SUMSQ":
            rows = rows * rows
        return rows.sum(-1) * o.coeff


@module("BatchReindex")
class BatchReindex(CaffeLayer):
    """Items of the first bottom picked by the indices in the second."""

    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        index = index.detach().reshape(-1).to(torch.int64)
        outside = (index < 0) | (index >= x.shape[0])
        if bool(outside.any()):
            raise self.fail(f"index {int(index[outside][0])} is outside the {x.shape[0]} items of its first bottom")
        return x.index_select(0, index)


@module("Filter")
class Filter(CaffeLayer):
    """Of every bottom but the last, the items at which the last one is not 0."""

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        keep = bottoms[-1].detach().reshape(-1).nonzero().reshape(-1)
        return tuple(x.index_select(0, keep) for x in bottoms[:-1])
