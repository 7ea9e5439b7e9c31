"""The permutohedral lattice of points of more features than the compiled one keeps on its stack, in torch's steps."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor

__all__ = ["COMPILED_FEATURES", "build"]

# The compiled lattice's bound, kMaxFeatures in csrc/core/crf/lattice.h.
COMPILED_FEATURES = 64
# As there: coordinates beyond this, and tables of more corners, do not fit int32.
_MAX_COORDINATE = 1e9
_MAX_ENTRIES = 2**30


def build(features: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The fields of a `Lattice` of points of any number of features, in its order.

    Args:
        features: Points [N, d], float32 or float64, divided by their standard deviations.

    Returns:
        Vertices, weights, neighbors, entries, offsets and count.

    Raises:
        RuntimeError: Features are not finite or lie beyond 1e9 lattice units, or N (d + 1) >= 2^30.

    Source:
        Adams, Baek and Davis 2010, section 3; the steps of csrc/core/crf/lattice.h, point by point.

    Example:
        >>> import torch
        >>> from deeplab_repro.ops.wide_lattice import build
        >>> build(torch.zeros(10, 100))[-1]  # all in one simplex
        tensor([101])
    """
    points, d = features.shape
    corners = points * (d + 1)
    if corners >= _MAX_ENTRIES:
        raise RuntimeError(f"lattice_build: {points} points of {d} features have too many corners, at most 2^30")
    features = features.detach()
    remainder, rank, weights = _simplices(features)
    keys = _corner_keys(remainder, rank).reshape(corners, d)
    # Sums of coordinates with odd factors stand for whole keys; what they tell is checked against the keys.
    factors = torch.randint(-(2**62), 2**62, (d,), generator=torch.Generator().manual_seed(d)).to(keys.device) * 2 + 1
    codes = (keys * factors).sum(1)
    known, group = codes.unique(return_inverse=True)
    first = torch.full_like(known, corners).scatter_reduce_(0, group, torch.arange(corners, device=keys.device), "amin")
    if not torch.equal(keys[first[group]], keys):
        raise RuntimeError("lattice_build: two vertices have one code")
    order = first.argsort()
    number = order.argsort()
    vertices, count = number[group], len(known)
    neighbors = keys.new_full((corners, d + 1, 2), -1, dtype=torch.int32)
    own, own_codes = keys[first[order]], known[order]
    for axis in range(d + 1):
        step = torch.full((d,), -1, device=keys.device)
        if axis < d:
            step[axis] = d
        for side, direction in enumerate((-1, 1)):
            wanted = own_codes + direction * (step * factors).sum()
            at = torch.searchsorted(known, wanted).clamp(max=count - 1)
            there = number[at]
            is_vertex = (known[at] == wanted) & (own[there] == own + direction * step).all(1)
            neighbors[:count, axis, side] = torch.where(is_vertex, there, -1).to(torch.int32)
    sizes = torch.bincount(vertices, minlength=corners)
    offsets = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
    return (
        vertices.reshape(points, d + 1).to(torch.int32),
        weights,
        neighbors,
        vertices.argsort(stable=True).to(torch.int32),
        offsets.to(torch.int32),
        torch.tensor([count], device=keys.device),
    )


def _simplices(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of each point: its simplex's vertex of remainder 0, the ranks, both int64, and corner weights, all [N, d + 1]."""
    d = features.shape[1]
    deviation = torch.tensor(sqrt(2 / 3) * (d + 1), dtype=features.dtype).double()
    j = torch.arange(1, d + 1, dtype=torch.float64)
    scales = (((j * (j + 1)).sqrt().reciprocal()) * deviation).to(features)
    scaled = features * scales
    sums = scaled.flip(1).cumsum(1).flip(1)
    later = torch.cat([sums[:, 1:], torch.zeros_like(sums[:, :1])], 1)
    elevated = torch.cat([sums[:, :1], later - j.to(features) * scaled], 1)
    if not bool((elevated.abs() < _MAX_COORDINATE).all()):
        raise RuntimeError("lattice_build: features must be finite and within 1e9 lattice units of the origin")
    rounded = (elevated / (d + 1)).round()
    remainder = rounded.long() * (d + 1)
    rest = elevated - remainder.to(features)
    # The largest residual gets rank 0; ties favour the lower index.
    rank = rest.sort(dim=1, descending=True, stable=True).indices.argsort(1) + rounded.long().sum(1, keepdim=True)
    wrap = (d + 1) * ((rank < 0).long() - (rank > d).long())
    rank, remainder = rank + wrap, remainder + wrap
    if not bool(((rank >= 0) & (rank <= d)).all()):
        raise RuntimeError("lattice_build: features lie too far from the origin for their precision")
    residual = (elevated - remainder.to(features)) / (d + 1)
    by_rank = torch.empty_like(residual).scatter_(1, rank, residual).flip(1)
    before = torch.cat([1 + by_rank[:, -1:].neg(), by_rank[:, :-1].neg()], 1)
    return remainder, rank, by_rank + before


def _corner_keys(remainder: Tensor, rank: Tensor) -> Tensor:
    """The first d coordinates of every corner, int64 [N, d + 1, d]."""
    d = remainder.shape[1] - 1
    corner = torch.arange(d + 1, device=remainder.device)[:, None]
    beyond = rank[:, None, :d] > d - corner
    return remainder[:, None, :d] + corner - (d + 1) * beyond.long()
