"""Layers that make their tops from files, or write them to files.

A net that does not run its data layers takes their tops as inputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from prototxt_import.layers.base import Context, Options
from prototxt_import.layers.messages import filler, plain, put, put_filler
from prototxt_import.layers.table import register
from prototxt_import.values import Filler, Shape


@dataclass(frozen=True)
class TransformOptions:
    """What happens to an image between file and blob: mean subtracted, then scaled; cropped and mirrored."""

    scale: float = 1.0
    mirror: bool = False
    crop_size: int = 0
    mean_file: str = ""
    mean_value: tuple[float, ...] = ()
    force_color: bool = False
    force_gray: bool = False
    scale_factors: tuple[float, ...] = ()
    crop_width: int = 0
    crop_height: int = 0

    @classmethod
    def of(cls, message: Any) -> TransformOptions:
        """Read a TransformationParameter.

        Args:
            message: The message.

        Returns:
            Its facts.
        """
        return cls(**{fact.name: plain(message, fact.name) for fact in dataclasses.fields(cls)})

    def put_into(self, message: Any) -> None:
        """Write what differs from the defaults into a layer's transform_param.

        Args:
            message: The layer's message.
        """
        for fact in dataclasses.fields(self):
            put(message, "transform_param", fact.name, getattr(self, fact.name))

    @property
    def crop(self) -> tuple[int, int] | None:
        """(height, width) cut out, None where images keep their size."""
        if self.crop_size:
            return self.crop_size, self.crop_size
        return (self.crop_height, self.crop_width) if self.crop_height and self.crop_width else None


# Forks in which Data layers look at rand_skip and force_encoded_color; from August 2015 on Caffe left both alone.
SKIPPING = ("v0", "v1", "segnet", "hed", "crfrnn")

D = TypeVar("D", bound="DataOptions")


@dataclass(frozen=True)
class DataOptions(Options):
    """Base of the layers that read batches: `transform` besides the like-named fields of the type's message.

    moved: facts of `transform` that the type's message kept before transform_param existed."""

    moved: ClassVar[tuple[str, ...]] = ("scale", "mean_file", "crop_size", "mirror")

    @classmethod
    def parse(cls: type[D], message: Any, context: Context) -> D:
        source = getattr(message, cls.field)
        names = {option.name for option in dataclasses.fields(cls)}
        given = {name: plain(source, name) for name in names - {"transform", "four_axes"}}
        if "four_axes" in names:
            given["four_axes"] = context.four_axes
        if "transform" in names:
            known = source.DESCRIPTOR.fields_by_name
            moved = {name: plain(source, name) for name in cls.moved if name in known and source.HasField(name)}
            given["transform"] = dataclasses.replace(TransformOptions.of(message.transform_param), **moved)
        return cls(**given)

    def emit(self, message: Any, dialect: str) -> None:
        for option in dataclasses.fields(self):
            value = getattr(self, option.name)
            if isinstance(value, TransformOptions):
                value.put_into(message)
            elif option.name != "four_axes":
                put(message, self.field, option.name, value)

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...] | None:
        return None

    @property
    def window(self) -> tuple[int, int] | None:
        """(height, width) cut out of an item, None where items keep their size."""
        transform: TransformOptions = getattr(self, "transform", TransformOptions())
        return transform.crop

    @property
    def mirrors(self) -> bool:
        """Whether every other item, at random, is mirrored."""
        transform: TransformOptions = getattr(self, "transform", TransformOptions())
        return transform.mirror


@register(
    "ImageSegData",
    field="image_data_param",
    v1="IMAGE_SEG_DATA",
    bottoms=(0, 0),
    tops=(1, 3),
    data=True,
    only_in="forks",
)
@dataclass(frozen=True)
class ImageSegDataOptions(DataOptions):
    """Images with label maps: data (B, C, h, w), label (B, 1, h, w), real sizes (B, 1, 1, 2)."""

    source: str = ""
    batch_size: int = 1
    rand_skip: int = 0
    shuffle: bool = False
    new_height: int = 0
    new_width: int = 0
    is_color: bool = True
    root_folder: str = ""
    ignore_label: int = 255
    label_type: str = "IMAGE"
    transform: TransformOptions = field(default_factory=TransformOptions)

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...] | None:
        size = self.transform.crop or (
            (self.new_height, self.new_width) if self.new_height and self.new_width else None
        )
        if size is None or (self.transform.crop is None and self.transform.scale_factors):
            return None
        n = self.batch_size
        return ((n, 3 if self.is_color else 1, *size), (n, 1, *size), (n, 1, 1, 2))[:tops]


@register(
    "ImageData", field="image_data_param", v1="IMAGE_DATA", v0=("images",), bottoms=(0, 0), tops=(1, 2), data=True
)
@dataclass(frozen=True)
class ImageDataOptions(DataOptions):
    """Images with one integer each: data (B, C, h, w), label (B,), in the v1 fork (B, 1, 1, 1).

    Of several labels an image, at most max_labels: label (B, max_labels, 1, 1), filled up with -1."""

    source: str = ""
    batch_size: int = 1
    rand_skip: int = 0
    shuffle: bool = False
    new_height: int = 0
    new_width: int = 0
    is_color: bool = True
    root_folder: str = ""
    max_labels: int = 1
    transform: TransformOptions = field(default_factory=TransformOptions)
    four_axes: bool = field(default=False, compare=False)

    @classmethod
    def parse(cls, message: Any, context: Context) -> ImageDataOptions:
        label_type = plain(message.image_data_param, "label_type")
        if label_type != "IMAGE":
            raise ValueError(
                f"label_type is {label_type}, which is for ImageSegData; ImageData's labels are the list's integers"
            )
        return super().parse(message, context)

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...] | None:
        if self.max_labels < 1:
            raise ValueError(f"max_labels is {self.max_labels}; it must be at least 1")
        size = self.transform.crop or (
            (self.new_height, self.new_width) if self.new_height and self.new_width else None
        )
        if size is None:
            return None
        several = self.four_axes or self.max_labels > 1
        label = (self.batch_size, self.max_labels, 1, 1) if several else (self.batch_size,)
        return ((self.batch_size, 3 if self.is_color else 1, *size), label)[:tops]


@register("ImageLabelmapData", field="image_data_param", bottoms=(0, 0), tops=(2, 2), data=True, only_in="forks")
@dataclass(frozen=True)
class ImageLabelmapDataOptions(DataOptions):
    """HED's source: images with edge maps, data (B, C, h, w), label (B, 1, h, w). Nothing here reads its files."""

    source: str = ""
    batch_size: int = 1
    rand_skip: int = 0
    shuffle: bool = False
    new_height: int = 0
    new_width: int = 0
    is_color: bool = True
    root_folder: str = ""
    transform: TransformOptions = field(default_factory=TransformOptions)

    def nominal(self, tops: Sequence[str]) -> tuple[Shape, ...]:
        # BSDS500's, on which HED is trained.
        n, size = self.batch_size, self.transform.crop or (321, 481)
        return (n, 3 if self.is_color else 1, *size), (n, 1, *size)


@register("Data", field="data_param", v1="DATA", v0=("data",), bottoms=(0, 0), tops=(1, 2), data=True)
@dataclass(frozen=True)
class DataLayerOptions(DataOptions):
    """Records of a LevelDB or LMDB database: data (B, C, h, w), label (B,), in the v1 fork (B, 1, 1, 1)."""

    source: str = ""
    batch_size: int = 0
    rand_skip: int = 0
    backend: str = "LEVELDB"
    force_encoded_color: bool = False
    prefetch: int = 4
    transform: TransformOptions = field(default_factory=TransformOptions)
    four_axes: bool = field(default=False, compare=False)


@register(
    "WindowData",
    field="window_data_param",
    v1="WINDOW_DATA",
    v0=("window_data",),
    bottoms=(0, 0),
    tops=(2, 2),
    data=True,
)
@dataclass(frozen=True)
class WindowDataOptions(DataOptions):
    """Windows cut out of images, by overlap with objects."""

    source: str = ""
    batch_size: int = 0
    fg_threshold: float = 0.5
    bg_threshold: float = 0.5
    fg_fraction: float = 0.25
    context_pad: int = 0
    crop_mode: str = "warp"
    cache_images: bool = False
    root_folder: str = ""
    transform: TransformOptions = field(default_factory=TransformOptions)

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...] | None:
        crop = self.transform.crop
        return None if crop is None else ((self.batch_size, 3, *crop), (self.batch_size,))


@register(
    "HDF5Data", field="hdf5_data_param", v1="HDF5_DATA", v0=("hdf5_data",), bottoms=(0, 0), tops=(1, None), data=True
)
@dataclass(frozen=True)
class HDF5DataOptions(DataOptions):
    """Rows of data sets named like the tops, from the HDF5 files listed in `source`.

    In the v1 fork tops have four axes, those that the data set lacks of size 1."""

    source: str = ""
    batch_size: int = 0
    shuffle: bool = False
    four_axes: bool = field(default=False, compare=False)

    @classmethod
    def parse(cls, message: Any, context: Context) -> HDF5DataOptions:
        if message.HasField("transform_param"):
            raise ValueError("transform_param is refused by Caffe here: the numbers of the file are taken as they are")
        return super().parse(message, context)


@register("MemoryData", field="memory_data_param", v1="MEMORY_DATA", bottoms=(0, 0), tops=(2, 3), data=True)
@dataclass(frozen=True)
class MemoryDataOptions(DataOptions):
    """Arrays handed over by a program: data (B, C, H, W), label (B,).

    In the v1 fork label (B, 1, 1, 1), and a third top, the real sizes (B, 1, 1, 2)."""

    batch_size: int = 0
    channels: int = 0
    height: int = 0
    width: int = 0
    transform: TransformOptions = field(default_factory=TransformOptions)
    four_axes: bool = field(default=False, compare=False)

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        sides = ("batch_size", "channels", "height", "width")
        if any(getattr(self, side) < 1 for side in sides):
            raise ValueError(f"needs {', '.join(sides[:3])} and {sides[3]} in memory_data_param, all above 0")
        n = self.batch_size
        label = (n, 1, 1, 1) if self.four_axes or tops == 3 else (n,)
        return ((n, self.channels, self.height, self.width), label, (n, 1, 1, 2))[:tops]


@register("DummyData", field="dummy_data_param", v1="DUMMY_DATA", bottoms=(0, 0), tops=(1, None), data=True)
@dataclass(frozen=True)
class DummyDataOptions(DataOptions):
    """Tops of given sizes filled by fillers (one per top, by default zeros)."""

    sizes: tuple[Shape, ...] = ()
    fillers: tuple[Filler, ...] = ()

    @classmethod
    def parse(cls, message: Any, context: Context) -> DummyDataOptions:
        source = message.dummy_data_param
        legacy = [tuple(getattr(source, name)) for name in ("num", "channels", "height", "width")]
        if source.shape and any(legacy):
            raise ValueError("shape and num, channels, height, width exclude each other")
        sizes = [tuple(shape.dim) for shape in source.shape]
        if not sizes:
            given = max(map(len, legacy))
            if any(len(sides) not in (1, given) for sides in legacy):
                raise ValueError("num, channels, height and width must each be given once, or once per top")
            sizes = [tuple(sides[min(i, len(sides) - 1)] for sides in legacy) for i in range(given)]
        if len(sizes) == 1:
            sizes *= context.tops
        fillers = [filler(stored) for stored in source.data_filler] or [Filler()]
        if len(fillers) == 1:
            fillers *= context.tops
        if len(sizes) != context.tops or len(fillers) != context.tops:
            raise ValueError(f"{len(sizes)} shapes and {len(fillers)} fillers for {context.tops} tops")
        return cls(tuple(sizes), tuple(fillers))

    def emit(self, message: Any, dialect: str) -> None:
        target = message.dummy_data_param
        for size in self.sizes:
            if dialect == "v1":
                for name, value in zip(("num", "channels", "height", "width"), (*size, 1, 1, 1), strict=False):
                    getattr(target, name).append(value)
            else:
                target.shape.add().dim.extend(size)
        for top_filler in self.fillers:
            put_filler(target.data_filler.add(), top_filler)

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        return self.sizes


@register("MatRead", field="mat_read_param", v1="MAT_READ", bottoms=(0, 0), data=True, only_in="forks")
@dataclass(frozen=True)
class MatReadOptions(DataOptions):
    """The variable `data` of <prefix><name>_blob_0.mat files."""

    prefix: str = ""
    source: str = ""
    strip: int = 0
    batch_size: int = 1


@register("MatWrite", field="mat_write_param", v1="MAT_WRITE", bottoms=(1, None), tops=(0, 0), only_in="forks")
@dataclass(frozen=True)
class MatWriteOptions(Options):
    """Writes each bottom to <prefix><name>_blob_<i>.mat."""

    prefix: str = ""
    source: str = ""
    strip: int = 0
    period: int = 1


@register("HDF5Output", field="hdf5_output_param", v1="HDF5_OUTPUT", v0=("hdf5_output",), bottoms=(2, 2), tops=(0, 0))
@dataclass(frozen=True)
class HDF5OutputOptions(Options):
    """Writes its bottoms to an HDF5 file."""

    file_name: str = ""
