"""Layers that join, split or rearrange whole blobs."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from prototxt_import.layers.base import Context, Options
from prototxt_import.layers.messages import plain, put
from prototxt_import.layers.shapes import Reach, across_channels, canonical, count
from prototxt_import.layers.table import register
from prototxt_import.values import Shape


def _axis(source: Any, old: str) -> int:
    """`axis`, or its predecessor `concat_dim` / `slice_dim`; giving both is an error as in Caffe."""
    if source.HasField("axis") and source.HasField(old):
        raise ValueError(f"axis and {old} exclude each other; give one of them")
    return int(getattr(source, old) if source.HasField(old) else source.axis)


def _put_axis(message: Any, group: str, old: str, axis: int, dialect: str) -> None:
    if dialect == "v1" and axis < 0:
        raise ValueError(f"the v1 dialect has no negative axis ({axis})")
    put(message, group, old if dialect == "v1" else "axis", axis)


@register("SpatialProduct", bottoms=(2, 2), pointwise=True, only_in="forks")
@dataclass(frozen=True)
class SpatialProductOptions(Options):
    """Every channel of (N, C, H, W) times the one of (N, 1, H, W), such as the attention that a scale is given.

    Source: the layer of this name in the Caffe of Attention to Scale, on Caffe's V2 format."""

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        first, factor = bottoms
        # Caffe checks the sides and the one channel; with fewer items it would read beyond the factor's end.
        if len(first) < 2 or factor != (first[0], 1, *first[2:]):
            wanted = [*first[:1], 1, *first[2:]]
            raise ValueError(f"second bottom must be {wanted} for a first of shape {list(first)}, got {list(factor)}")
        return (first,)


@register(
    "Concat", field="concat_param", v1="CONCAT", v0=("concat",), bottoms=(1, None), pointwise=True, keeps_place=True
)
@dataclass(frozen=True)
class ConcatOptions(Options):
    """Bottoms one behind the other along an axis. Source: Caffe's concat_layer.cpp."""

    axis: int = 1

    @classmethod
    def parse(cls, message: Any, context: Context) -> ConcatOptions:
        return cls(_axis(message.concat_param, "concat_dim"))

    def emit(self, message: Any, dialect: str) -> None:
        _put_axis(message, "concat_param", "concat_dim", self.axis, dialect)

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        axis = canonical(self.axis, bottoms[0])
        if len({(len(bottom), bottom[:axis], bottom[axis + 1 :]) for bottom in bottoms}) > 1:
            raise ValueError(f"bottoms {[list(bottom) for bottom in bottoms]} differ in more than axis {axis}")
        return ((*bottoms[0][:axis], sum(bottom[axis] for bottom in bottoms), *bottoms[0][axis + 1 :]),)

    def reach(self, bottom: Shape, top: Shape) -> tuple[Reach, Reach] | None:
        return across_channels(self.axis)


@register("Slice", field="slice_param", v1="SLICE", tops=(1, None), pointwise=True, keeps_place=True)
@dataclass(frozen=True)
class SliceOptions(Options):
    """The bottom cut along `axis` at slice_points, or into equal parts where there are none."""

    axis: int = 1
    slice_points: tuple[int, ...] = ()

    @classmethod
    def parse(cls, message: Any, context: Context) -> SliceOptions:
        return cls(_axis(message.slice_param, "slice_dim"), tuple(message.slice_param.slice_point))

    def emit(self, message: Any, dialect: str) -> None:
        _put_axis(message, "slice_param", "slice_dim", self.axis, dialect)
        put(message, "slice_param", "slice_point", self.slice_points)

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        axis = canonical(self.axis, bottoms[0])
        size = bottoms[0][axis]
        if self.slice_points:
            edges = (0, *self.slice_points, size)
            if len(edges) != tops + 1:
                raise ValueError(f"{len(self.slice_points)} slice points make {len(edges) - 1} parts for {tops} tops")
        elif size % tops:
            raise ValueError(f"axis {axis} of size {size} does not divide into {tops} equal parts")
        else:
            edges = tuple(range(0, size + 1, size // tops))
        parts = [stop - start for start, stop in itertools.pairwise(edges)]
        if min(parts) < 1:
            raise ValueError(f"slice points {self.slice_points} must rise and stay inside axis {axis} of size {size}")
        return tuple((*bottoms[0][:axis], part, *bottoms[0][axis + 1 :]) for part in parts)

    def reach(self, bottom: Shape, top: Shape) -> tuple[Reach, Reach] | None:
        return across_channels(self.axis)


@register("Eltwise", field="eltwise_param", v1="ELTWISE", bottoms=(2, None), pointwise=True, keeps_place=True)
@dataclass(frozen=True)
class EltwiseOptions(Options):
    """operation "SUM" (weighted by coeffs, one per bottom), "PROD" or "MAX"; coeffs is empty but for SUM."""

    operation: str = "SUM"
    coeffs: tuple[float, ...] = ()
    stable_prod_grad: bool = True

    @classmethod
    def parse(cls, message: Any, context: Context) -> EltwiseOptions:
        source = message.eltwise_param
        options = cls(plain(source, "operation"), plain(source, "coeff"), source.stable_prod_grad)
        return options.resolve(context.bottoms)

    def resolve(self, bottoms: int) -> EltwiseOptions:
        if self.operation not in ("SUM", "PROD", "MAX"):
            raise ValueError(f"operation is {self.operation!r}; known are SUM, PROD and MAX")
        if self.coeffs and len(self.coeffs) != bottoms:
            raise ValueError(f"{len(self.coeffs)} coefficients for {bottoms} bottoms; give none, or one each")
        if self.operation == "PROD" and self.coeffs:
            raise ValueError("coeff has no meaning for PROD")
        sums = self.operation == "SUM"
        return dataclasses.replace(self, coeffs=(self.coeffs or (1.0,) * bottoms) if sums else ())

    def emit(self, message: Any, dialect: str) -> None:
        put(message, "eltwise_param", "operation", self.operation)
        if any(coeff != 1 for coeff in self.coeffs):
            put(message, "eltwise_param", "coeff", self.coeffs)
        put(message, "eltwise_param", "stable_prod_grad", self.stable_prod_grad)

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        if len(set(bottoms)) > 1:
            raise ValueError(f"all bottoms must have one shape, got {[list(bottom) for bottom in bottoms]}")
        return (bottoms[0],)


@register("Split", v1="SPLIT", v0=("split",), tops=(1, None), pointwise=True, keeps_place=True)
@dataclass(frozen=True)
class SplitOptions(Options):
    """Every top is the bottom."""

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        return (bottoms[0],) * tops


@register("Silence", v1="SILENCE", bottoms=(1, None), tops=(0, 0), pointwise=True)
@dataclass(frozen=True)
class SilenceOptions(Options):
    """Uses its bottoms up, so that they are no outputs."""


@register("Flatten", field="flatten_param", v1="FLATTEN", v0=("flatten",))
@dataclass(frozen=True)
class FlattenOptions(Options):
    """Axes from `axis` to `end_axis`, both included, made one. four_axes (v1): the top is (N, K, 1, 1)."""

    axis: int = 1
    end_axis: int = -1
    four_axes: bool = field(default=False, compare=False)

    def emit(self, message: Any, dialect: str) -> None:
        if dialect != "v1":
            super().emit(message, dialect)
        elif (self.axis, self.end_axis) != (1, -1):
            raise ValueError("the v1 dialect can only flatten everything behind axis 0")

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        start, stop = (canonical(axis, bottoms[0]) for axis in (self.axis, self.end_axis))
        if start > stop:
            raise ValueError(f"axis {self.axis} lies behind end_axis {self.end_axis}")
        top = (*bottoms[0][:start], count(bottoms[0][start : stop + 1]), *bottoms[0][stop + 1 :])
        return ((*top, 1, 1) if self.four_axes else top,)


@register("Reshape", field="reshape_param")
@dataclass(frozen=True)
class ReshapeOptions(Options):
    """The num_axes axes from `axis` on replaced by `dims`: 0 copies the bottom's, one -1 takes what is left."""

    dims: tuple[int, ...] = ()
    axis: int = 0
    num_axes: int = -1

    @classmethod
    def parse(cls, message: Any, context: Context) -> ReshapeOptions:
        source = message.reshape_param
        return cls(tuple(source.shape.dim), source.axis, source.num_axes)

    def emit(self, message: Any, dialect: str) -> None:
        put(message, "reshape_param", "axis", self.axis)
        put(message, "reshape_param", "num_axes", self.num_axes)
        message.reshape_param.shape.dim.extend(self.dims)

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        source = bottoms[0]
        # A negative axis counts from one behind the last, so that -1 may insert axes at the end.
        start = self.axis if self.axis >= 0 else len(source) + self.axis + 1
        stop = len(source) if self.num_axes == -1 else start + self.num_axes
        if not 0 <= start <= stop <= len(source):
            raise ValueError(f"axis {self.axis} and num_axes {self.num_axes} do not fit a bottom {list(source)}")
        if self.dims.count(-1) > 1 or min(self.dims, default=0) < -1:
            raise ValueError(f"dims {list(self.dims)} may hold one -1 and nothing below")
        dims = list(self.dims)
        for index, dim in enumerate(dims):
            if dim == 0:
                if start + index >= len(source):
                    raise ValueError(f"dim {index} of {list(self.dims)} copies an axis that {list(source)} lacks")
                dims[index] = source[start + index]
        if -1 in dims:
            known = -count(dims) * count(source[:start]) * count(source[stop:])
            if known == 0 or count(source) % known:
                raise ValueError(f"a bottom {list(source)} does not divide into dims {list(self.dims)}")
            dims[dims.index(-1)] = count(source) // known
        result = (*source[:start], *dims, *source[stop:])
        if count(result) != count(source):
            raise ValueError(f"a bottom {list(source)} does not reshape to {list(result)}")
        return (result,)


@register("Permute", field="permute_param")
@dataclass(frozen=True)
class PermuteOptions(Options):
    """Axes in another order (SSD's layer): first those that `order` names, then the others as they were."""

    order: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.order)) != len(self.order):
            raise ValueError(f"order {list(self.order)} names an axis twice")

    def axes(self, rank: int) -> tuple[int, ...]:
        """The bottom's axis that each axis of the top is.

        Args:
            rank: How many axes the bottom has.

        Returns:
            The axes in the top's order.

        Raises:
            ValueError: `order` names one beyond them.
        """
        if max(self.order, default=-1) >= rank:
            raise ValueError(f"order {list(self.order)} names an axis that a bottom of {rank} axes lacks")
        return self.order + tuple(axis for axis in range(rank) if axis not in self.order)

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        return (tuple(bottoms[0][axis] for axis in self.axes(len(bottoms[0]))),)


@register("Tile", field="tile_param", pointwise=True)
@dataclass(frozen=True)
class TileOptions(Options):
    """The bottom repeated `tiles` times along an axis."""

    axis: int = 1
    tiles: int = 0

    def __post_init__(self) -> None:
        if self.tiles < 1:
            raise ValueError(f"tiles is {self.tiles}; it must be at least 1")

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        axis = canonical(self.axis, bottoms[0])
        return ((*bottoms[0][:axis], bottoms[0][axis] * self.tiles, *bottoms[0][axis + 1 :]),)

    def reach(self, bottom: Shape, top: Shape) -> tuple[Reach, Reach] | None:
        return across_channels(self.axis)


@register("Reduction", field="reduction_param")
@dataclass(frozen=True)
class ReductionOptions(Options):
    """Everything from `axis` on reduced to one number: "SUM", "ASUM", "SUMSQ" or "MEAN", times coeff."""

    operation: str = "SUM"
    axis: int = 0
    coeff: float = 1.0

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        return (bottoms[0][: canonical(self.axis, bottoms[0]) if bottoms[0] else 0],)


@register("BatchReindex", bottoms=(2, 2))
@dataclass(frozen=True)
class BatchReindexOptions(Options):
    """Items of the first bottom picked, in that order and as often, by the indices in the second."""

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        if len(bottoms[1]) != 1 or not bottoms[0]:
            raise ValueError(f"indices must have one axis, got {list(bottoms[1])}")
        return ((*bottoms[1], *bottoms[0][1:]),)


@register("Filter", bottoms=(2, None), tops=(1, None))
@dataclass(frozen=True)
class FilterOptions(Options):
    """Items of every bottom but the last whose selector (the last bottom) is not 0; shapes assume that all pass."""

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        if len(bottoms) != tops + 1:
            raise ValueError(f"needs one bottom more than tops, has {len(bottoms)} and {tops}")
        items = bottoms[-1][0] if bottoms[-1] else 0
        if count(bottoms[-1]) != items or any(bottom[:1] != (items,) for bottom in bottoms):
            raise ValueError(f"the selector {list(bottoms[-1])} must give one number per item of every bottom")
        return tuple(bottoms[:-1])
