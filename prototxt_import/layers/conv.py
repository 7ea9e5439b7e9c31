"""Convolution, Deconvolution, InnerProduct, Embed, Parameter: layers around a weight."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from prototxt_import.layers.base import Context, Options
from prototxt_import.layers.messages import filler, put
from prototxt_import.layers.shapes import Reach, canonical, check_padded, count, pair, spatial
from prototxt_import.layers.table import register
from prototxt_import.values import Filler, Shape


def window_pair(message: Any, plain: str, default: int | None, together: bool = False) -> tuple[int, int] | None:
    """A window's field given as one number, as two, or in its `_h` and `_w` forms.

    Args:
        message: The message that has the field.
        plain: The field's name.
        default: What stands for an absent number, None where it has to be given.
        together: Whether Caffe refuses one side without the other also where there is a default.

    Returns:
        (h, w); None where it is absent and has no default.

    Raises:
        ValueError: It is given in two forms, or only one side of it.
    """
    stem = plain.removesuffix("_size")
    values = getattr(message, plain)
    values = list(values) if not isinstance(values, int) else ([values] if message.HasField(plain) else [])
    named = [f"{stem}_{side}" for side in "hw"]
    if any(message.HasField(name) for name in named):
        if values:
            raise ValueError(f"{plain} and {' / '.join(named)} exclude each other; give one of them")
        sides = [getattr(message, name) if message.HasField(name) else default for name in named]
        alone = together and not all(message.HasField(name) for name in named)
        if alone or sides[0] is None or sides[1] is None:
            raise ValueError(f"{' and '.join(named)} must be given together")
        return sides[0], sides[1]
    if len(values) > 2:
        raise ValueError(f"{plain} has {len(values)} values; one, or two (h, w), are supported")
    if not values:
        return None if default is None else (default, default)
    return values[0], values[-1]


def dilation_pair(message: Any) -> tuple[int, int]:
    """Kernel dilation from `dilation` (v2) or `hole`, `hole_h`, `hole_w` (v1).

    Args:
        message: A ConvolutionParameter.

    Returns:
        (h, w); 0 means 1 as in Caffe.

    Raises:
        ValueError: The two disagree.
    """
    spellings = []
    if message.dilation:
        if len(message.dilation) > 2:
            raise ValueError(f"dilation has {len(message.dilation)} values; one, or two (h, w), are supported")
        spellings.append((message.dilation[0] or 1, message.dilation[-1] or 1))
    if any(message.HasField(name) for name in ("hole", "hole_h", "hole_w")):
        sides = [getattr(message, name) if message.HasField(name) else message.hole for name in ("hole_h", "hole_w")]
        spellings.append((sides[0] or 1, sides[1] or 1))
    if len(set(spellings)) > 1:
        raise ValueError(f"hole {spellings[1]} and dilation {spellings[0]} disagree; give one of them")
    return spellings[0] if spellings else (1, 1)


def put_pair(message: Any, name: str, value: tuple[int, int], default: int | None) -> None:
    """Write a window's field: the plain form for equal sides, else `_h` and `_w`, which all dialects have.

    Args:
        message: The layer's message, which is changed.
        name: The field's name.
        value: (h, w).
        default: What an absent field stands for; such a pair is left out.
    """
    target = message.convolution_param
    if value == (default, default):
        return
    if value[0] == value[1]:
        if isinstance(getattr(target, name), int):
            setattr(target, name, value[0])
        else:
            getattr(target, name).append(value[0])
        return
    stem = name.removesuffix("_size")
    setattr(target, f"{stem}_h", value[0])
    setattr(target, f"{stem}_w", value[1])


@dataclass(frozen=True)
class WindowOptions(Options):
    """What Convolution and Deconvolution share; pairs are (h, w)."""

    num_output: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    group: int = 1
    bias_term: bool = True
    axis: int = 1
    weight_filler: Filler = field(default_factory=Filler)
    bias_filler: Filler = field(default_factory=Filler)

    def __post_init__(self) -> None:
        for name in ("kernel", "stride", "pad", "dilation"):
            object.__setattr__(self, name, pair(getattr(self, name)))
        if self.axis not in (1, -3):
            raise ValueError(f"axis {self.axis} is not supported; channels must be axis 1")
        object.__setattr__(self, "axis", 1)
        if self.num_output < 1:
            raise ValueError(f"num_output is {self.num_output}; it must be at least 1")
        if self.group < 1 or self.num_output % self.group:
            raise ValueError(f"num_output {self.num_output} is not a multiple of group {self.group}")
        for name, least in (("kernel", 1), ("stride", 1), ("pad", 0), ("dilation", 1)):
            if min(getattr(self, name)) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; both sides must be at least {least}")

    @classmethod
    def parse(cls, message: Any, context: Context) -> Any:
        source = message.convolution_param
        kernel = window_pair(source, "kernel_size", None)
        if kernel is None:
            raise ValueError("kernel_size is missing")
        return cls(
            num_output=source.num_output,
            kernel=kernel,
            stride=window_pair(source, "stride", 1, together=True) or (1, 1),
            pad=window_pair(source, "pad", 0) or (0, 0),
            dilation=dilation_pair(source),
            group=source.group,
            bias_term=source.bias_term,
            axis=source.axis,
            weight_filler=filler(source.weight_filler),
            bias_filler=filler(source.bias_filler),
        )

    def emit(self, message: Any, dialect: str) -> None:
        put(message, "convolution_param", "num_output", self.num_output)
        put(message, "convolution_param", "bias_term", self.bias_term)
        put_pair(message, "pad", self.pad, 0)
        put_pair(message, "kernel_size", self.kernel, None)
        put(message, "convolution_param", "group", self.group)
        put_pair(message, "stride", self.stride, 1)
        target = message.convolution_param
        if self.dilation != (1, 1):
            if dialect == "v1":
                put_pair(message, "hole", self.dilation, 1)
            else:
                target.dilation.extend(self.dilation if self.dilation[0] != self.dilation[1] else self.dilation[:1])
        put(message, "convolution_param", "weight_filler", self.weight_filler)
        if self.bias_term:
            put(message, "convolution_param", "bias_filler", self.bias_filler)

    def blob_count(self, bottoms: int) -> int:
        return 2 if self.bias_term else 1

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        if len(bottoms) != tops:
            raise ValueError(f"needs one top per bottom, has {len(bottoms)} bottoms and {tops} tops")
        if len(set(bottoms)) > 1:
            raise ValueError(f"all bottoms must have one shape, got {[list(bottom) for bottom in bottoms]}")
        return tuple(self._top(bottom) for bottom in bottoms)

    def _top(self, bottom: Shape) -> Shape:
        n, _, h, w = spatial(bottom)
        check_padded(bottom, self.pad)
        sides = [self._side(size, axis) for axis, size in enumerate((h, w))]
        if min(sides) < 1:
            raise ValueError(
                f"bottom {list(bottom)} is too small for kernel {self.kernel}, dilation {self.dilation}, pad {self.pad}"
            )
        return (n, self.num_output, *sides)

    def _side(self, size: int, axis: int) -> int:
        raise NotImplementedError

    def extent(self, axis: int) -> int:
        """Pixels that the dilated kernel spans.

        Args:
            axis: 0 for the height, 1 for the width.

        Returns:
            Their number.
        """
        return self.dilation[axis] * (self.kernel[axis] - 1) + 1

    def _channels(self, bottoms: Sequence[Shape]) -> int:
        channels = spatial(bottoms[0])[1]
        if channels < 1 or channels % self.group:
            raise ValueError(f"{channels} input channels are not a multiple of group {self.group}")
        return channels


@register("Convolution", field="convolution_param", v1="CONVOLUTION", v0=("conv",), bottoms=(1, None), tops=(1, None))
@dataclass(frozen=True)
class ConvolutionOptions(WindowOptions):
    """Cross-correlation; weight (num_output, C / group, kh, kw), bias (num_output,)."""

    def _side(self, size: int, axis: int) -> int:
        room = size + 2 * self.pad[axis] - self.extent(axis)
        # C++ cuts the quotient towards 0, so that a kernel up to a stride larger than its map still gives 1.
        return int(math.copysign(abs(room) // self.stride[axis], room)) + 1

    def overhang(self, height: int, width: int) -> tuple[int, int]:
        """By how much the kernel reaches beyond a padded map, where it lies at 0.

        Args:
            height: The map's.
            width: The map's.

        Returns:
            (h, w).
        """
        rows, columns = (
            max(0, self.extent(axis) - size - 2 * self.pad[axis]) for axis, size in enumerate((height, width))
        )
        return rows, columns

    def reach(self, bottom: Shape, top: Shape) -> tuple[Reach, Reach] | None:
        rows, columns = (
            (-pad, self.extent(axis) - 1 - pad, stride)
            for axis, (pad, stride) in enumerate(zip(self.pad, self.stride, strict=True))
        )
        return rows, columns

    def multiply_accumulates(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        weight = count(self.params(bottoms)[0])
        return sum(top[0] * count(top[2:]) * weight for top in tops)

    def params(self, bottoms: Sequence[Shape]) -> tuple[Shape, ...]:
        weight = (self.num_output, self._channels(bottoms) // self.group, *self.kernel)
        return (weight, (self.num_output,)) if self.bias_term else (weight,)


@register("Deconvolution", field="convolution_param", v1="DECONVOLUTION", bottoms=(1, None), tops=(1, None))
@dataclass(frozen=True)
class DeconvolutionOptions(WindowOptions):
    """Transposed convolution; weight (C, num_output / group, kh, kw), bias (num_output,)."""

    def _side(self, size: int, axis: int) -> int:
        return self.stride[axis] * (size - 1) + self.extent(axis) - 2 * self.pad[axis]

    def reach(self, bottom: Shape, top: Shape) -> tuple[Reach, Reach] | None:
        rows, columns = (
            (math.ceil((pad - self.extent(axis) + 1) / stride), pad // stride, 1 / stride)
            for axis, (pad, stride) in enumerate(zip(self.pad, self.stride, strict=True))
        )
        return rows, columns

    def multiply_accumulates(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        weight = count(self.params(bottoms)[0])
        return sum(bottom[0] * count(bottom[2:]) * weight for bottom in bottoms)

    def params(self, bottoms: Sequence[Shape]) -> tuple[Shape, ...]:
        weight = (self._channels(bottoms), self.num_output // self.group, *self.kernel)
        return (weight, (self.num_output,)) if self.bias_term else (weight,)


@register("Im2col", field="convolution_param", v1="IM2COL", v0=("im2col",))
@dataclass(frozen=True)
class Im2colOptions(Options):
    """Every window of a convolution laid out as channels: (N, C * kh * kw, H, W); pairs are (h, w)."""

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)

    @classmethod
    def parse(cls, message: Any, context: Context) -> Im2colOptions:
        source = message.convolution_param
        kernel = window_pair(source, "kernel_size", None)
        if kernel is None:
            raise ValueError("kernel_size is missing")
        if source.axis not in (1, -3):
            raise ValueError(f"axis {source.axis} is not supported; channels must be axis 1")
        stride = window_pair(source, "stride", 1, together=True) or (1, 1)
        pad = window_pair(source, "pad", 0) or (0, 0)
        return cls(kernel, stride, pad, dilation_pair(source))

    def __post_init__(self) -> None:
        self._as_convolution(1)

    def _as_convolution(self, channels: int) -> ConvolutionOptions:
        """The convolution whose windows these are; ValueError where there is none."""
        return ConvolutionOptions(
            channels * self.kernel[0] * self.kernel[1], self.kernel, self.stride, self.pad, self.dilation
        )

    def emit(self, message: Any, dialect: str) -> None:
        for name, default in (("kernel_size", None), ("stride", 1), ("pad", 0)):
            put_pair(message, name, getattr(self, name.removesuffix("_size")), default)
        if self.dilation != (1, 1):
            if dialect == "v1":
                put_pair(message, "hole", self.dilation, 1)
            else:
                message.convolution_param.dilation.extend(self.dilation)

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        return self._as_convolution(spatial(bottoms[0])[1]).shapes(bottoms, tops)


@register("InnerProduct", field="inner_product_param", v1="INNER_PRODUCT", v0=("innerproduct",))
@dataclass(frozen=True)
class InnerProductOptions(Options):
    """Fully connected from `axis` on, K numbers an item; weight (num_output, K), or (K, num_output) if transpose.

    four_axes (v1): the top is (N, num_output, 1, 1)."""

    num_output: int
    bias_term: bool = True
    axis: int = 1
    transpose: bool = False
    weight_filler: Filler = field(default_factory=Filler)
    bias_filler: Filler = field(default_factory=Filler)
    four_axes: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        if self.num_output < 1:
            raise ValueError(f"num_output is {self.num_output}; it must be at least 1")

    def blob_count(self, bottoms: int) -> int:
        return 2 if self.bias_term else 1

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        top = (*bottoms[0][: canonical(self.axis, bottoms[0])], self.num_output)
        return ((*top, 1, 1) if self.four_axes else top,)

    def params(self, bottoms: Sequence[Shape]) -> tuple[Shape, ...]:
        inner = count(bottoms[0][canonical(self.axis, bottoms[0]) :])
        weight = (inner, self.num_output) if self.transpose else (self.num_output, inner)
        return (weight, (self.num_output,)) if self.bias_term else (weight,)

    def multiply_accumulates(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        return count(tops[0]) // self.num_output * count(self.params(bottoms)[0])


@register("Embed", field="embed_param")
@dataclass(frozen=True)
class EmbedOptions(Options):
    """Rows of a table picked by index, on a new last axis; weight (input_dim, num_output), bias (num_output,)."""

    num_output: int
    input_dim: int
    bias_term: bool = True
    weight_filler: Filler = field(default_factory=Filler)
    bias_filler: Filler = field(default_factory=Filler)

    def __post_init__(self) -> None:
        if self.num_output < 1 or self.input_dim < 1:
            raise ValueError(f"num_output {self.num_output} and input_dim {self.input_dim} must be at least 1")

    def blob_count(self, bottoms: int) -> int:
        return 2 if self.bias_term else 1

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        return ((*bottoms[0], self.num_output),)

    def params(self, bottoms: Sequence[Shape]) -> tuple[Shape, ...]:
        weight = (self.input_dim, self.num_output)
        return (weight, (self.num_output,)) if self.bias_term else (weight,)


@register("Parameter", field="parameter_param", bottoms=(0, 0), only_in="bvlc", late=True)
@dataclass(frozen=True)
class ParameterOptions(Options):
    """A learned blob as top."""

    shape: Shape = ()

    @classmethod
    def parse(cls, message: Any, context: Context) -> ParameterOptions:
        return cls(tuple(message.parameter_param.shape.dim))

    def emit(self, message: Any, dialect: str) -> None:
        message.parameter_param.shape.dim.extend(self.shape)

    def blob_count(self, bottoms: int) -> int:
        return 1

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        return (self.shape,)

    def params(self, bottoms: Sequence[Shape]) -> tuple[Shape, ...]:
        return (self.shape,)
