"""SegNet's and DeconvNet's layers around pooling masks, and SegNet's source of images with label maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from prototxt_import.layers.base import Context, Options
from prototxt_import.layers.conv import window_pair
from prototxt_import.layers.data import DataOptions, TransformOptions
from prototxt_import.layers.messages import plain, put
from prototxt_import.layers.shapes import pair, spatial
from prototxt_import.layers.table import register
from prototxt_import.values import Shape


def _check_mask(bottoms: Sequence[Shape]) -> None:
    if len(bottoms) > 1 and bottoms[1] != bottoms[0]:
        raise ValueError(
            f"the mask {list(bottoms[1])} must have the shape of the values {list(bottoms[0])}: one position for each"
        )


@register("Upsample", field="upsample_param", bottoms=(2, 2), only_in="segnet")
@dataclass(frozen=True)
class UpsampleOptions(Options):
    """Values put where a pooling's mask (h W + w inside its plane) says, zeros elsewhere; pairs are (h, w).

    size: of the top; without it the bottom's times `scale`, one less where pad_out says so."""

    scale: tuple[int, int] = (2, 2)
    pad_out: tuple[bool, bool] = (False, False)
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", pair(self.scale))
        if min(self.scale) < 1:
            raise ValueError(f"scale is {self.scale}; both sides must be at least 1")
        if self.size is not None:
            if min(self.size) < 1:
                raise ValueError(f"upsample_h and upsample_w are {self.size}; both must be at least 1")
            return
        for axis, name in enumerate("hw"):
            if self.pad_out[axis] and self.scale[axis] != 2:
                raise ValueError(f"pad_out_{name} goes with a scale of 2, not of {self.scale[axis]}")

    @classmethod
    def parse(cls, message: Any, context: Context) -> UpsampleOptions:
        source = message.upsample_param
        given = [source.HasField(name) for name in ("upsample_h", "upsample_w")]
        if any(given) and not all(given):
            raise ValueError("upsample_h and upsample_w must be given together")
        if source.HasField("scale_h") != source.HasField("scale_w"):
            raise ValueError("scale_h and scale_w must be given together")
        scale = (source.scale_h, source.scale_w) if source.HasField("scale_h") else pair(source.scale)
        size = (source.upsample_h, source.upsample_w) if all(given) else None
        if size is not None:
            # With a size the layer looks at nothing else.
            return cls(size=size)
        return cls(scale, (source.pad_out_h, source.pad_out_w))

    def emit(self, message: Any, dialect: str) -> None:
        target = message.upsample_param
        target.SetInParent()
        if self.size is not None:
            target.upsample_h, target.upsample_w = self.size
            return
        if self.scale[0] == self.scale[1]:
            target.scale = self.scale[0]
        else:
            target.scale_h, target.scale_w = self.scale
        put(message, "upsample_param", "pad_out_h", self.pad_out[0])
        put(message, "upsample_param", "pad_out_w", self.pad_out[1])

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        n, c, h, w = spatial(bottoms[0])
        _check_mask(bottoms)
        sides = self.size or (h * self.scale[0] - self.pad_out[0], w * self.scale[1] - self.pad_out[1])
        if min(sides) < 1:
            raise ValueError(f"a bottom of {h}x{w} leaves no top: {sides[0]}x{sides[1]}")
        return ((n, c, *sides),)


@register("Unpooling", field="unpooling_param", v1="UNPOOLING", bottoms=(1, 2))
@dataclass(frozen=True)
class UnpoolingOptions(Options):
    """DeconvNet's layer: values put where the mask says, or, without one, at the corner of each window.

    size: of the top; without it max((h - 1) stride + kernel, h stride + 1)."""

    kernel: tuple[int, int] = (0, 0)
    stride: tuple[int, int] = (1, 1)
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "kernel", pair(self.kernel))
        object.__setattr__(self, "stride", pair(self.stride))
        for name in ("kernel", "stride"):
            if min(getattr(self, name)) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; both sides must be at least 1")
        if self.size is not None and min(self.size) < 1:
            raise ValueError(f"unpool_size is {self.size}; both sides must be at least 1")

    @classmethod
    def parse(cls, message: Any, context: Context) -> UnpoolingOptions:
        source = message.unpooling_param
        method = plain(source, "unpool")
        if method != "MAX":
            raise ValueError(f"unpool {method} is not supported; DeconvNet's nets use MAX")
        if window_pair(source, "pad", 0, together=True) != (0, 0):
            raise ValueError("the fork allows no padding here; pad must be 0")
        kernel = window_pair(source, "kernel_size", None)
        if kernel is None:
            raise ValueError("kernel_size is missing")
        stride = window_pair(source, "stride", 1, together=True) or (1, 1)
        return cls(kernel, stride, window_pair(source, "unpool_size", None))

    def emit(self, message: Any, dialect: str) -> None:
        target = message.unpooling_param
        target.SetInParent()
        for name, value, default in (
            ("kernel_size", self.kernel, None),
            ("stride", self.stride, (1, 1)),
            ("unpool_size", self.size, None),
        ):
            if value is None or value == default:
                continue
            stem = name.removesuffix("_size")
            if value[0] == value[1]:
                setattr(target, name, value[0])
            else:
                setattr(target, f"{stem}_h", value[0])
                setattr(target, f"{stem}_w", value[1])

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        n, c, h, w = spatial(bottoms[0])
        _check_mask(bottoms)
        return ((n, c, *(self.size or (self._side(h, 0), self._side(w, 1)))),)

    def _side(self, size: int, axis: int) -> int:
        return max((size - 1) * self.stride[axis] + self.kernel[axis], size * self.stride[axis] + 1)


@register("DenseImageData", field="dense_image_data_param", bottoms=(0, 0), tops=(2, 2), data=True, only_in="segnet")
@dataclass(frozen=True)
class DenseImageDataOptions(DataOptions):
    """Images with label maps read as grey, from a list of pairs: data (B, C, h, w), label (B, 1, h, w).

    mirror and the crop are the layer's own and go for both; of `transform` the image takes mean and scale."""

    moved: ClassVar[tuple[str, ...]] = ()

    source: str = ""
    batch_size: int = 1
    rand_skip: int = 0
    shuffle: bool = False
    new_height: int = 0
    new_width: int = 0
    is_color: bool = True
    mean_file: str = ""
    root_folder: str = ""
    mirror: bool = False
    crop_width: int = 0
    crop_height: int = 0
    transform: TransformOptions = field(default_factory=TransformOptions)

    def __post_init__(self) -> None:
        for first, second in (("new_height", "new_width"), ("crop_height", "crop_width")):
            if (getattr(self, first) > 0) != (getattr(self, second) > 0):
                raise ValueError(f"{first} and {second} must be given together")
        if self.transform.mirror or self.transform.crop_size:
            raise ValueError(
                "mirror and crop_size in transform_param would not reach the label map; "
                "dense_image_data_param has mirror, crop_height and crop_width"
            )

    @property
    def window(self) -> tuple[int, int] | None:
        return (self.crop_height, self.crop_width) if self.crop_height else None

    @property
    def mirrors(self) -> bool:
        return self.mirror

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...] | None:
        size = self.window or (self.new_height, self.new_width)
        return self._tops(*size) if size[0] else None

    def nominal(self, tops: Sequence[str]) -> tuple[Shape, ...]:
        # CamVid's, for which the fork's own nets are written.
        return self._tops(360, 480)

    def _tops(self, height: int, width: int) -> tuple[Shape, ...]:
        n = self.batch_size
        return (n, 3 if self.is_color else 1, height, width), (n, 1, height, width)
