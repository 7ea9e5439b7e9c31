"""One image of a data layer, from files to the part that goes into the batch. Needs no torch: workers run it."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import cv2
import numpy as np

from deeplab_repro.files.images import Pixels, read_bgr, read_label_map


@dataclass(frozen=True)
class LoadOptions:
    """What a layer does with each of its images.

    Args:
        size: (height, width) in pixels to resize to as read, or None.
        crop: (height, width) in pixels to cut out, or None.
        color: Whether images are read as BGR; else as grey.
        pads: Whether smaller images are padded bottom and right (ImageSegData) or refused.
        label: Where label maps come from, None for no maps.
        ignore_label: What fills label maps outside an image, and all of them with "NONE".
        smooth_labels: Whether label maps are resized bilinearly, as the DeepLab forks do it, or to the nearest pixel.
        mirrors_first: Whether the crop is drawn for the mirrored image.
        padding_means: Whether there are mean values, which padding is made of.
    """

    size: tuple[int, int] | None
    crop: tuple[int, int] | None
    color: bool
    pads: bool
    label: Literal["PIXEL", "IMAGE", "NONE"] | None
    ignore_label: int
    smooth_labels: bool = True
    mirrors_first: bool = False
    padding_means: bool = True


@dataclass(frozen=True)
class LoadJob:
    """One image and what was drawn for it.

    Args:
        image: The image's file.
        label: The label map's file, the integer or integers of the list, or None.
        where: List and line, for errors.
        mirror: Whether it is mirrored left to right.
        scale: A factor on its sides; 1 leaves the size.
        offsets: Outputs of the generator for the crop's row and column, None for the centre.
    """

    image: Path
    label: Path | int | tuple[int, ...] | None
    where: str
    mirror: bool = False
    scale: float = 1.0
    offsets: tuple[int, int] | None = None


@dataclass(frozen=True)
class LoadedImage:
    """The part of an image inside its crop window; what lies outside the image is padding, at the bottom and right.

    Args:
        image: BGR or grey, uint8 [h, w(, 3)].
        label: uint8 [h, w] or None.
        window: (height, width) with the padding.
        real: (height, width) as read.
        corner: Row and column of the window.
    """

    image: Pixels
    label: Pixels | None
    window: tuple[int, int]
    real: tuple[int, int]
    corner: tuple[int, int]


def load(options: LoadOptions, job: LoadJob) -> LoadedImage:
    """Read, resize, scale and cut one image.

    Args:
        options: What the layer does with each.
        job: The image.

    Returns:
        The part inside the crop window.

    Raises:
        ValueError: The image or its label map cannot be read or used; the message names list, line and file.
    """
    try:
        return _load(options, job)
    except OSError as error:
        raise ValueError(f"{job.where}: {error.filename or job.image}: {error.strerror or error}") from error
    except (ValueError, cv2.error) as error:
        raise ValueError(f"{job.where}: {error}") from error


def load_in_worker(options: LoadOptions, job: LoadJob) -> LoadedImage:
    """`load` in a process of its own, one of as many as are to be busy.

    Args:
        options: As of `load`.
        job: As of `load`.

    Returns:
        As `load`.

    Raises:
        ValueError: As of `load`.
    """
    cv2.setNumThreads(1)
    return load(options, job)


def _load(options: LoadOptions, job: LoadJob) -> LoadedImage:
    image = read_bgr(_regular(job.image), cv2.IMREAD_COLOR if options.color else cv2.IMREAD_GRAYSCALE)
    if options.size is not None:
        image = _resized(image, options.size, cv2.INTER_LINEAR)
    label = _label(options, job, image)
    real = image.shape[:2]
    if job.scale != 1:
        size = tuple(int(np.float32(side) * np.float32(job.scale)) for side in real)
        if min(size) < 1:
            raise ValueError(f"{job.image}: nothing is left of {real[0]} x {real[1]} pixels at scale {job.scale:g}")
        image = _resized(image, size, cv2.INTER_LINEAR)
        label = None if label is None else _resized(label, size, cv2.INTER_NEAREST)
    height, width = image.shape[:2]
    if options.crop is None:
        return LoadedImage(image, label, (height, width), real, (0, 0))
    rows, columns = options.crop
    if not options.pads and (height < rows or width < columns):
        raise ValueError(f"{job.image}: {height} x {width} pixels are fewer than the crop's {rows} x {columns}")
    if not options.padding_means and (height < rows or width < columns):
        raise ValueError(
            f"{job.image}: {height} x {width} pixels are padded to the crop's {rows} x {columns} with mean values, and "
            "there are none; give mean_value, 0 for padding with zeros"
        )
    spare = max(height - rows, 0), max(width - columns, 0)
    if job.offsets is None:
        top, left = spare[0] // 2, spare[1] // 2
    else:
        top, left = (drawn % (room + 1) for drawn, room in zip(job.offsets, spare, strict=True))
    if options.mirrors_first and job.mirror:
        left = spare[1] - left
    window = slice(top, top + rows), slice(left, left + columns)
    # A view would carry the whole image from the worker to the parent.
    cut = np.ascontiguousarray(image[window])
    return LoadedImage(
        cut, None if label is None else np.ascontiguousarray(label[window]), (rows, columns), real, (top, left)
    )


def _label(options: LoadOptions, job: LoadJob, image: Pixels) -> Pixels | None:
    if options.label is None:
        return None
    if options.label == "PIXEL":
        assert isinstance(job.label, Path)
        label = read_label_map(_regular(job.label))
        if options.size is not None:
            label = _resized(label, options.size, cv2.INTER_LINEAR if options.smooth_labels else cv2.INTER_NEAREST)
        if label.shape != image.shape[:2]:
            raise ValueError(
                f"{job.label}: {label.shape[0]} x {label.shape[1]} pixels, its image {job.image} has "
                f"{image.shape[0]} x {image.shape[1]}"
            )
        return label
    value = options.ignore_label if options.label == "NONE" else job.label
    assert isinstance(value, int)
    return np.full(image.shape[:2], min(max(value, 0), 255), np.uint8)


def _regular(path: Path) -> Path:
    """The path; OSError unless a file is there, ValueError for a pipe or device, which might never end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError(f"{path}: no regular file")
    return path


def _resized(image: Pixels, size: tuple[int, ...], how: int) -> Pixels:
    return cast("Pixels", cv2.resize(image, (size[1], size[0]), interpolation=how))
