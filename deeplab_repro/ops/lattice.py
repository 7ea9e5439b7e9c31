"""The permutohedral lattice: built, filtered over, and an order of points for those who do without it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from deeplab_repro.ops import wide_lattice
from deeplab_repro.ops.extension import register_autograd

__all__ = ["Lattice", "lattice_build", "lattice_filter", "spatial_order"]


class Lattice(NamedTuple):
    """A permutohedral lattice over N points of d features, as `lattice_build` returns it.

    Attributes:
        vertices: [N, d + 1] int32, the vertex of each corner of a point's simplex.
        weights: [N, d + 1] of the features' dtype, each corner's barycentric weight.
        neighbors: [N (d + 1), d + 1, 2] int32, the vertices before and after along each axis, -1 for none.
        entries: [N (d + 1)] int32, corners grouped by vertex.
        offsets: [N (d + 1) + 1] int32, where each vertex's group begins in `entries`.
        count: [1] int64, the number of vertices V; rows past V hold -1, or N (d + 1) in `offsets`.

    Source:
        Adams, Baek and Davis 2010, section 3.

    Example:
        >>> import torch
        >>> from deeplab_repro import ops
        >>> lattice = ops.lattice_build(torch.zeros(10, 2))
        >>> lattice.count, list(lattice.vertices.shape)
        (tensor([3]), [10, 3])
    """

    vertices: Tensor  # [N, d + 1] int32: the vertex of each corner of a point's simplex
    weights: Tensor  # [N, d + 1]: its barycentric weight
    neighbors: Tensor  # [N (d + 1), d + 1, 2] int32: before and after along each axis, -1 for none
    entries: Tensor  # [N (d + 1)] int32: corners grouped by vertex
    offsets: Tensor  # [N (d + 1) + 1] int32: each vertex's group
    count: Tensor  # type: ignore[assignment]  # hides tuple.count; [1] int64: vertices V; rows past V hold -1, or N (d + 1) in offsets


def lattice_build(features: Tensor) -> Lattice:
    """Build the permutohedral lattice of points.

    Vertices are numbered by first appearance, on every device and for any number of threads.

    Args:
        features: Points [N, d], float32 or float64, divided by their standard deviations.

    Returns:
        The `Lattice`, on the features' device.

    Raises:
        RuntimeError: Features are not finite or lie beyond 1e9 lattice units, d is 0, or N (d + 1) >= 2^30.

    Source:
        Adams, Baek and Davis 2010; the rounding of Kraehenbuehl's dense CRF code (permutohedral.cpp).

    Example:
        >>> import torch
        >>> from deeplab_repro import ops
        >>> ops.lattice_build(torch.zeros(10, 5)).count  # all in one simplex
        tensor([6])
    """
    if features.dim() == 2 and features.shape[1] > wide_lattice.COMPILED_FEATURES:
        return Lattice(*wide_lattice.build(features))
    return Lattice(*torch.ops.deeplab.lattice_build(features))


def lattice_filter(values: Tensor, lattice: Lattice, reverse: bool = False) -> Tensor:
    """Gaussian-filter values over a lattice: splat, blur along each axis, slice; not normalised.

    The operator is differentiable in `values`: the reverse-order filter is the exact adjoint. A neighbour that no point
    splats to counts as 0, as in the reference.

    Args:
        values: [N, C], of the dtype and on the device of the lattice's weights.
        lattice: What `lattice_build` gives.
        reverse: Whether to blur along axes d..0 instead of 0..d.

    Returns:
        The filtered values [N, C].

    Raises:
        RuntimeError: Another number of points, another dtype or device, or tables that are no lattice's.

    Source:
        Adams, Baek and Davis 2010, section 3; Kraehenbuehl's permutohedral.cpp.

    Example:
        >>> import torch
        >>> from deeplab_repro import ops
        >>> lattice = ops.lattice_build(torch.rand(20, 2))
        >>> ops.lattice_filter(torch.ones(20, 3), lattice).shape
        torch.Size([20, 3])
    """
    return torch.ops.deeplab.lattice_filter(values, *lattice, reverse)


def _lattice_filter_setup(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs[1:7])
    ctx.reverse = inputs[7]


def _lattice_filter_backward(ctx, grad: Tensor):
    grad_values = torch.ops.deeplab.lattice_filter(grad.contiguous(), *ctx.saved_tensors, not ctx.reverse)
    return grad_values, None, None, None, None, None, None, None


register_autograd("lattice_filter", _lattice_filter_backward, _lattice_filter_setup)


def spatial_order(features: Tensor, block: int = 64) -> Tensor:
    """An order of points in which blocks of consecutive ones lie close together.

    The blocks are the leaves of a k-d tree: every part is split near the median of its widest feature, at a multiple of
    a block.

    Args:
        features: Points [P, d], any floating dtype.
        block: Points of a block.

    Returns:
        Indices of the points, [P] int64.

    Example:
        >>> import torch
        >>> from deeplab_repro import ops
        >>> points = torch.tensor([[0.0], [9.0], [1.0], [8.0]])
        >>> ops.spatial_order(points, block=2)
        tensor([0, 2, 3, 1])
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
