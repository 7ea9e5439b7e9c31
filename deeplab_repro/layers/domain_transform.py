"""DT-EdgeNet's DomainTransform."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor

from deeplab_repro.layers.base import CaffeLayer, module


class _Recursion(torch.autograd.Function):
    """Along axis 0: y[0] = x[0], y[i] = x[i] + a[i - 1] (y[i - 1] - x[i]); x [L, C, R], a [L - 1, R]."""

    @staticmethod
    def forward(ctx, x: Tensor, a: Tensor) -> Tensor:
        y = x.clone(memory_format=torch.contiguous_format)
        for before, now, weight in zip(y, y[1:], a, strict=False):
            now += weight * (before - now)
        ctx.save_for_backward(x, a, y)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, a, y = ctx.saved_tensors
        reached = grad.clone(memory_format=torch.contiguous_format)
        for i in range(len(a), 0, -1):
            reached[i - 1] += a[i - 1] * reached[i]
        to_a = (reached[1:] * (y[:-1] - x[1:])).sum(1)
        reached[1:] *= 1 - a[:, None]
        return reached, to_a


class _Weight(torch.autograd.Function):
    """exp(factor (1 + ratio edges)) held in least..1; the gradient is taken as if nothing were held, as in the fork."""

    @staticmethod
    def forward(ctx, edges: Tensor, factor: float, ratio: float, least: float) -> Tensor:
        weight = torch.exp(factor * (1 + edges * ratio)).clamp(min=least).clamp(max=1)
        ctx.save_for_backward(weight)
        ctx.slope = factor * ratio
        return weight

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor):
        (weight,) = ctx.saved_tensors
        return ctx.slope * weight * grad, None, None, None


@module("DomainTransform")
class DomainTransform(CaffeLayer):
    """Scores [N, C, H, W] smoothed where edges [N, 1, H, W] are low, num_iter times, each time over a shorter distance.

    A time runs along every row to the right and back, then along every column down and back. dims (two numbers an item)
    gives the true height and width: only the top left part of that size is filtered, the rest passes. Gradients to
    scores and edges, the same in both phases.

    Source:
        Gastal and Oliveira 2011, section 5; Chen et al. 2016 (edges learned), section 3."""

    def forward(self, scores: Tensor, edges: Tensor, dims: Tensor) -> Tensor:
        most = scores.shape[-2:]
        tops = []
        for x, edge, (h, w) in zip(scores, edges, dims.detach().reshape(-1, 2).to(torch.int64).tolist(), strict=True):
            if h < 0 or w < 0 or h > most[0] or w > most[1]:
                raise self.fail(f"an item's true size is {h} x {w}; the blob has {most[0]} x {most[1]}")
            inside = self._filtered(x[:, :h, :w], edge[0, :h, :w])
            tops.append(torch.cat([torch.cat([inside, x[:, :h, w:]], 2), x[:, h:]], 1))
        return torch.stack(tops) if tops else scores * 1

    def _filtered(self, x: Tensor, edges: Tensor) -> Tensor:
        """One item's part [C, h, w] by its edges [h, w]."""
        o = self.options
        ratio = o.spatial_sigma / o.range_sigma
        for i in range(o.num_iter):
            sigma = o.spatial_sigma * sqrt(3) * 2 ** (o.num_iter - i - 1) / sqrt(4**o.num_iter - 1)
            weight = _Weight.apply(edges, -sqrt(2) / sigma, ratio, o.min_weight)
            x = _there_and_back(x.permute(2, 0, 1), weight.t()).permute(1, 2, 0)
            x = _there_and_back(x.permute(1, 0, 2), weight).permute(1, 0, 2)
        return x


def _there_and_back(x: Tensor, weight: Tensor) -> Tensor:
    """The recursion along axis 0 of x [L, C, R] and back; weight [L, R] lies between an element and the one before."""
    between = weight[1:]
    return _Recursion.apply(_Recursion.apply(x, between).flip(0), between.flip(0)).flip(0)
