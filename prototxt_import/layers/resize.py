"""Layers that change height and width by position alone: Interp, Padding, Crop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from prototxt_import.layers.base import Context, Options
from prototxt_import.layers.messages import put
from prototxt_import.layers.shapes import Reach, canonical, spatial
from prototxt_import.layers.table import register
from prototxt_import.values import Shape


@register("Interp", field="interp_param", v1="INTERP", only_in="forks")
@dataclass(frozen=True)
class InterpOptions(Options):
    """Bilinear resizing with aligned corners after cropping by pad_beg, pad_end (both <= 0), on both axes alike.

    Exactly one target is set: height and width, or zoom_factor, or shrink_factor, or shrink_factor then zoom_factor."""

    height: int | None = None
    width: int | None = None
    zoom_factor: int | None = None
    shrink_factor: int | None = None
    pad_beg: int = 0
    pad_end: int = 0

    def __post_init__(self) -> None:
        if (self.height is None) != (self.width is None):
            raise ValueError("height and width must be given together")
        factors = self.zoom_factor is not None or self.shrink_factor is not None
        if factors == (self.height is not None):
            raise ValueError("needs either height and width, or zoom_factor and/or shrink_factor")
        for name in ("height", "width", "zoom_factor", "shrink_factor"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1")
        if self.pad_beg > 0 or self.pad_end > 0:
            raise ValueError(f"pad_beg {self.pad_beg} and pad_end {self.pad_end} may only crop: 0 or less")

    @classmethod
    def parse(cls, message: Any, context: Context) -> InterpOptions:
        source = message.interp_param
        given = {
            name: getattr(source, name) if source.HasField(name) else None
            for name in ("height", "width", "zoom_factor", "shrink_factor")
        }
        sized = given["height"] is not None and given["width"] is not None
        factors = [name for name in ("zoom_factor", "shrink_factor") if given[name] is not None]
        if context.dialect == "v1" and len(factors) + sized > 1:
            raise ValueError("the v1 dialect takes only one of zoom_factor, shrink_factor, and height with width")
        # Caffe tests: shrink alone, zoom alone, height and width, both factors; the first that holds wins.
        if len(factors) == 1:
            given["height"] = given["width"] = None
        elif sized:
            given["zoom_factor"] = given["shrink_factor"] = None
        elif factors:
            given["height"] = given["width"] = None
        return cls(**given, pad_beg=source.pad_beg, pad_end=source.pad_end)

    def emit(self, message: Any, dialect: str) -> None:
        if dialect == "v1" and self.zoom_factor is not None and self.shrink_factor is not None:
            raise ValueError("the v1 dialect cannot shrink and zoom in one layer")
        for name in ("height", "width", "zoom_factor", "shrink_factor"):
            value = getattr(self, name)
            if value is not None:
                # Presence matters here even where the value is the schema's default.
                put(message, "interp_param", name, value)
                setattr(message.interp_param, name, value)
        put(message, "interp_param", "pad_beg", self.pad_beg)
        put(message, "interp_param", "pad_end", self.pad_end)

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        n, c, h, w = spatial(bottoms[0])
        return ((n, c, *self.size(h, w)),)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """The size that a map is resized to.

        Args:
            height: The map's.
            width: The map's.

        Returns:
            (height, width).

        Raises:
            ValueError: Cropping leaves nothing of it.
        """
        cropped = [side + self.pad_beg + self.pad_end for side in (height, width)]
        if min(cropped) < 1:
            raise ValueError(f"cropping by {self.pad_beg} and {self.pad_end} leaves nothing of {height}x{width}")
        if self.height is not None and self.width is not None:
            return self.height, self.width
        if self.shrink_factor is not None:
            cropped = [(side - 1) // self.shrink_factor + 1 for side in cropped]
        if self.zoom_factor is not None:
            cropped = [side + (side - 1) * (self.zoom_factor - 1) for side in cropped]
        return cropped[0], cropped[1]

    def reach(self, bottom: Shape, top: Shape) -> tuple[Reach, Reach] | None:
        # Linear interpolation is taken to read two elements on each axis.
        rows, columns = (self._axis_reach(bottom[axis], top[axis]) for axis in (2, 3))
        return rows, columns

    def _axis_reach(self, below: int, above: int) -> Reach:
        extent = below + self.pad_beg + self.pad_end
        if extent == above:
            return -self.pad_beg, -self.pad_beg, 1
        step = (extent - 1) / (above - 1) if above > 1 else 1.0
        return -self.pad_beg, -self.pad_beg + (0 if step.is_integer() else 1), step


@register("Padding", field="padding_param", v1="PADDING", only_in="forks")
@dataclass(frozen=True)
class PaddingOptions(Options):
    """out = in + pad_beg + pad_end on both axes: zeros added where both are >= 0, cropped where both are <= 0."""

    pad_beg: int = 0
    pad_end: int = 0

    def __post_init__(self) -> None:
        if self.pad_beg * self.pad_end < 0:
            raise ValueError(f"pad_beg {self.pad_beg} and pad_end {self.pad_end} must not differ in sign")

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        n, c, h, w = spatial(bottoms[0])
        sides = [side + self.pad_beg + self.pad_end for side in (h, w)]
        if min(sides) < 1:
            raise ValueError(f"cropping by {self.pad_beg} and {self.pad_end} leaves nothing of {h}x{w}")
        return ((n, c, *sides),)

    def reach(self, bottom: Shape, top: Shape) -> tuple[Reach, Reach] | None:
        moved = (-self.pad_beg, -self.pad_beg, 1)
        return moved, moved


@register("Crop", field="crop_param", v1="CROP", bottoms=(2, 2), only_sizes=(1,), only_in="bvlc")
@dataclass(frozen=True)
class CropOptions(Options):
    """The first bottom cut, from `axis` on, to the second's size at `offset` (none, one for all axes, or one each).

    automatic: the offset follows from the layers before it, as in forks whose Crop has no parameters (crfrnn.aligned);
    a net that was read has it resolved."""

    bare_in: ClassVar[frozenset[str]] = frozenset(["hed", "crfrnn"])
    axis: int = 2
    offset: tuple[int, ...] = ()
    automatic: bool = field(default=False, compare=False)

    @classmethod
    def parse(cls, message: Any, context: Context) -> CropOptions:
        source = message.crop_param
        automatic = context.dialect in ("hed", "crfrnn") and not message.HasField("crop_param")
        return cls(source.axis, tuple(source.offset), automatic)

    def emit(self, message: Any, dialect: str) -> None:
        known = "crop_param" in message.DESCRIPTOR.fields_by_name
        if not known and not self.automatic:
            raise ValueError(f"Crop of the {dialect} dialect finds its offset itself and can be given none")
        if known:
            # Written even where it says nothing: without crop_param other forks would look for an offset.
            message.crop_param.SetInParent()
            put(message, "crop_param", "axis", self.axis)
            put(message, "crop_param", "offset", self.offset)

    def other_meaning(self, dialect: str) -> str:
        if self.automatic:
            return (
                " has no crop_param: aligned by the layers before it, as in HED and CRF-RNN (here offset "
                f"{list(self.offset)}); --dialect bvlc cuts at offset 0"
            )
        if not self.offset and dialect in ("bvlc", "x2") and self.axis == 2:
            return " gives no offset: cut at 0, as in BVLC; --dialect hed or crfrnn aligns a Crop without crop_param"
        return ""

    def cut(self) -> tuple[int, int] | None:
        """The offsets (h, w) of four axes; None where it cuts others, too."""
        if self.axis not in (2, -2) or len(self.offset) > 2:
            return None
        return (0, 0) if not self.offset else (self.offset[0], self.offset[-1])

    def offsets(self, bottoms: Sequence[Shape]) -> tuple[int, ...]:
        """The offset of each axis.

        Args:
            bottoms: Shapes of the bottoms.

        Returns:
            One number per axis of the first bottom.

        Raises:
            ValueError: There are neither as many offsets as cropped axes, nor one, nor none.
        """
        start = canonical(self.axis, bottoms[0])
        axes = len(bottoms[0]) - start
        if len(self.offset) not in (0, 1, axes):
            raise ValueError(f"{len(self.offset)} offsets for {axes} cropped axes; give none, one, or one each")
        cut = self.offset if len(self.offset) == axes else (self.offset or (0,)) * axes
        return (0,) * start + tuple(cut)

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        source, target = bottoms
        if len(source) != len(target):
            raise ValueError(f"bottoms {list(source)} and {list(target)} differ in their number of axes")
        start = canonical(self.axis, source)
        for axis, offset in enumerate(self.offsets(bottoms)):
            if axis >= start and offset + target[axis] > source[axis]:
                raise ValueError(f"axis {axis}: offset {offset} and size {target[axis]} exceed {source[axis]}")
        return (source[:start] + target[start:],)

    def reach(self, bottom: Shape, top: Shape) -> tuple[Reach, Reach] | None:
        _, _, row, column = self.offsets((bottom,))
        return (row, row, 1), (column, column, 1)
