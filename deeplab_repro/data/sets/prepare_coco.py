"""COCO: its objects as VOC's twenty classes, and COCO-Stuff."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deeplab_repro.data.sets.class_tables import COCO_OF_VOC, VOC
from deeplab_repro.data.sets.datasets import VOID
from deeplab_repro.data.sets.prepare import Labels, Source, SourceImage, read_ids
from deeplab_repro.data.sets.prepare_voc import load_labels
from deeplab_repro.files.images import read_label_map

STUFF_CLASSES = 182
# Polygons are drawn on a grid so many times finer, their corners to 1/16 of its pixels.
_FINER, _SHIFT = 8, 4


def coco_to_voc(folder: Path, annotations: Sequence[Path], min_pixels: int = 200) -> Source:
    """Read COCO's instance annotations as VOC's 21 classes.

    Other objects are background, smaller ones lie on top of larger ones, crowds are void.

    Args:
        folder: With the images, in it or in a folder below named as in the annotation file (train2014, ...).
        annotations: instances_*.json files, each a split named by its ending.
        min_pixels: Images with fewer labelled pixels are left out, as those who trained on COCO for VOC did.

    Returns:
        The data set.

    Raises:
        ValueError: A file holds no such annotations, or no image has enough labelled pixels.
        OSError: A file cannot be read.
    """
    label_of = {category: label for label, category in COCO_OF_VOC.items()}
    images = []
    for file in annotations:
        split = file.stem.removeprefix("instances_")
        try:
            content = json.loads(file.read_text())
            by_image: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
            for instance in content["annotations"]:
                if instance["category_id"] in label_of:
                    by_image[instance["image_id"]].append(instance)
            pictures = [picture for picture in content["images"] if picture["id"] in by_image]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{file}: no instance annotations of COCO: {error!r}") from error
        for picture in pictures:
            size = picture["height"], picture["width"]
            try:
                labels = paint(by_image[picture["id"]], label_of, size)
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"{file}: image {picture['id']}: {error}") from error
            if int(((labels > 0) & (labels != VOID)).sum()) >= min_pixels:
                below = folder / split / picture["file_name"]
                image = below if below.is_file() else folder / picture["file_name"]
                # Painted again when it is written: all of them at once would fill the memory.
                again = partial(paint, by_image[picture["id"]], label_of, size)
                images.append(SourceImage(image.stem, image, again, (split,)))
    if not images:
        raise ValueError(f"{folder}: no image with {min_pixels} pixels of VOC's classes")
    return Source(images, VOC, None, (f"images with fewer than {min_pixels} labelled pixels are left out",))


def paint(objects: Sequence[Mapping[str, Any]], label_of: Mapping[int, int], size: tuple[int, int]) -> Labels:
    """Paint annotated objects into a label map: crowds first, then larger ones before smaller ones.

    Args:
        objects: COCO's annotations of one image.
        label_of: Labels by category id.
        size: (height, width) of the image in pixels.

    Returns:
        Labels uint8 [H, W].

    Raises:
        ValueError: A run-length mask is compressed or has another size.
        KeyError: An annotation lacks a field.
    """
    labels = np.zeros(size, np.uint8)
    for instance in sorted(objects, key=lambda instance: (not instance.get("iscrowd", 0), -instance["area"])):
        mask = _mask(instance["segmentation"], size)
        labels[mask > 0] = VOID if instance.get("iscrowd", 0) else label_of[instance["category_id"]]
    return labels


def _mask(segmentation: Any, size: tuple[int, int]) -> Labels:
    mask = np.zeros(size, np.uint8)
    if isinstance(segmentation, Mapping):
        counts = segmentation["counts"]
        if isinstance(counts, str):
            raise ValueError("a compressed run-length mask; COCO's own files hold lists of numbers")
        runs = np.repeat(np.arange(len(counts)) % 2, counts)
        if runs.size != mask.size:
            raise ValueError(f"a run-length mask of {runs.size} pixels for an image of {mask.size}")
        return runs.reshape(size[1], size[0]).T.astype(np.uint8)
    for polygon in segmentation:
        _draw(np.asarray(polygon, np.float64).reshape(-1, 2), mask)
    return mask


def _draw(points: NDArray[np.float64], mask: Labels) -> None:
    """Set the pixels whose centres lie in a polygon of (x, y), which count from the picture's corner.

    OpenCV also fills what an outline touches, half a pixel too much: drawn finer, that becomes next to nothing."""
    low = np.clip(np.floor(points.min(0)), 0, mask.shape[::-1]).astype(int)
    high = np.clip(np.ceil(points.max(0)), 0, mask.shape[::-1]).astype(int)
    if (high <= low).any():
        return
    width, height = (high - low) * _FINER
    fine = np.zeros((height, width), np.uint8)
    corners = np.round(((points - low) * _FINER - 0.5) * (1 << _SHIFT)).astype(np.int32)
    cv2.fillPoly(fine, [corners], 1, cv2.LINE_8, _SHIFT)
    mask[low[1] : high[1], low[0] : high[0]] |= fine[_FINER // 2 :: _FINER, _FINER // 2 :: _FINER]


def coco_stuff(folder: Path) -> Source:
    """Read COCO-Stuff, 182 classes.

    Args:
        folder: The 10k set (annotations/*.mat, images, imageLists) or the pixel maps of the 164k set (train2017 and
            val2017 with images, and stuffthingmaps or annotations with PNGs of the same names).

    Returns:
        The data set.

    Raises:
        ValueError: The folder has another layout.
        FileNotFoundError: A list of the 10k set is missing.
    """
    names = _stuff_names(folder)
    if (folder / "imageLists").is_dir():
        splits = {split: read_ids(folder / "imageLists" / f"{split}.txt") for split in ("train", "test")}
        images = [
            SourceImage(
                name, folder / "images" / f"{name}.jpg", _stuff_mat(folder / "annotations" / f"{name}.mat"), (split,)
            )
            for split, listed in splits.items()
            for name in listed
        ]
        return Source(images, names)
    images = []
    for split in ("train2017", "val2017"):
        folders = (folder / kind / split for kind in ("stuffthingmaps", "annotations"))
        maps = next((candidate for candidate in folders if candidate.is_dir()), None)
        if maps is None:
            continue
        for image in sorted((folder / split).glob("*.jpg")):
            images.append(SourceImage(image.stem, image, _stuff_map(maps / f"{image.stem}.png"), (split,)))
    if not images:
        raise ValueError(f"{folder}: no COCO-Stuff: neither imageLists nor train2017 and stuffthingmaps")
    return Source(images, names)


def _stuff_names(folder: Path) -> tuple[str, ...]:
    """Names of labels 1..182 from the set's labels file, else their numbers."""
    for file in (folder / "cocostuff-labels.txt", folder / "labels.txt"):
        if file.is_file():
            pairs = (line.partition(":") for line in file.read_text().splitlines() if ":" in line)
            names = {int(number): name.strip() for number, _, name in pairs if number.strip().isdigit()}
            return tuple(names.get(i, str(i)) for i in range(1, STUFF_CLASSES + 1))
    return tuple(map(str, range(1, STUFF_CLASSES + 1)))


def _stuff_mat(file: Path) -> Callable[[], Labels]:
    # 0 is unlabelled there: below 0 is 255 in eight bits.
    return lambda: (load_labels(file, "S") - 1).astype(np.uint8)


def _stuff_map(file: Path) -> Callable[[], Labels]:
    return lambda: read_label_map(file)
