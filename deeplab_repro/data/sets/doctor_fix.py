"""A repaired copy of a data set, in VOC's layout."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from deeplab_repro.data.sets.datasets import VOID, SegmentationDataset, write_classes
from deeplab_repro.data.sets.doctor import Diagnosis, has_zero_lines, is_shifted, overlap, part_grey_palettes, repeated
from deeplab_repro.data.sets.label_facts import (
    Facts,
    class_colours,
    class_greys,
    labels_of_colours,
    parting_lines,
    read_raw,
)
from deeplab_repro.files.atomic import replacing_folder
from deeplab_repro.files.images import turned, write_image

# Sides may differ by rounding when an image was scaled.
ASPECT_TOLERANCE = 0.02


@dataclass(frozen=True)
class Repair:
    """What a repaired copy holds: samples by split, and what was left out, with the reason."""

    kept: dict[str, int]
    left_out: dict[str, str]


def write_repaired(
    datasets: Sequence[SegmentationDataset],
    diagnosis: Diagnosis,
    folder: Path,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Repair:
    """Copy a data set to a new folder with its faults mended where they can be: images as they are, labels as grey PNGs
    of class numbers with void 255, lists without what cannot be mended, without doubles and without overlap.

    Raises ValueError for a folder that holds something, OSError when it cannot be written."""
    dataset, facts = datasets[0], diagnosis.facts
    mend = _mender(dataset, facts)
    names: dict[str, Path] = {}
    lists: dict[str, list[str]] = {each.split: [] for each in datasets}
    left_out: dict[str, str] = {}
    doubled = _to_leave_out([each.split for each in datasets], facts)
    with replacing_folder(folder) as made:
        images, labels = made / "JPEGImages", made / "SegmentationClass"
        for each in (images, labels, made / "ImageSets" / "Segmentation"):
            each.mkdir(parents=True)
        for done, one in enumerate(facts):
            reason = doubled.get(id(one)) or one.image_error or one.label_error
            mended = None if reason or one.sample.label is None else mend(one)
            if one.lossy:
                reason = "labels stored as JPEG"
            elif not reason and mended is None and one.sample.label is not None:
                reason = f"labels of {one.label_size} do not fit an image of {one.image_size}"
            if reason:
                left_out[f"{one.split}: {one.sample.image}"] = reason
            else:
                name = _own_name(one, names)
                shutil.copyfile(one.sample.image, images / f"{name}{one.sample.image.suffix.lower()}")
                if mended is not None:
                    write_image(mended, labels / f"{name}.png")
                lists[one.split].append(name)
            progress(done + 1, len(facts))
        for split, listed in lists.items():
            (made / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("".join(f"{name}\n" for name in listed))
        write_classes(made / "classes.json", dataset.class_names, dataset.palette)
    return Repair({split: len(listed) for split, listed in lists.items()}, left_out)


def _own_name(one: Facts, names: dict[str, Path]) -> str:
    """The sample's name, told apart by its folder where another image has it."""
    name = one.sample.name
    while names.setdefault(name, one.sample.image) != one.sample.image:
        name = f"{one.sample.image.parent.name}_{name}"
    return name


def _to_leave_out(splits: Sequence[str], facts: Sequence[Facts]) -> dict[int, str]:
    """Facts, by identity, that are doubles inside a split or in a later split too."""
    inside: dict[str, list[Facts]] = defaultdict(list)
    for one in facts:
        inside[one.split].append(one)
    reasons = {id(one): "listed twice" for each in inside.values() for one in repeated(each)}
    for i, split in enumerate(splits):
        for later in splits[i + 1 :]:
            if split.startswith("trainval") or later.startswith("trainval"):
                continue
            reasons |= {id(one): f"also in {later}" for one in overlap(inside[split], inside[later])}
    return reasons


def _mender(dataset: SegmentationDataset, facts: Sequence[Facts]) -> Callable[[Facts], NDArray[np.uint8] | None]:
    """A function from a sample's facts to mended labels [H, W], None where they cannot be fitted to the image."""
    palettes, rest = part_grey_palettes(dataset, [one for one in facts if not one.orders])
    shifted, lines = is_shifted(dataset, rest), has_zero_lines(dataset, rest)
    from_grey = {id(one) for one in palettes}
    colours, greys = class_colours(dataset), class_greys(dataset)

    def mend(one: Facts) -> NDArray[np.uint8] | None:
        assert one.sample.label is not None
        kind, pixels = read_raw(one.sample.label)
        labels = labels_of_colours(pixels.astype(np.uint8), colours) if kind == "colour" else pixels.astype(np.int64)
        if one.orders:
            table = np.full(256, -1, np.int64)
            for index, label in one.orders:
                table[index] = label
            labels = table[labels]
        elif id(one) in from_grey:
            table = np.full(256, -1, np.int64)
            table[list(greys)] = list(greys.values())
            labels = table[labels]
        elif dataset.from_file is not None and kind != "colour":
            labels = dataset.from_file[np.clip(labels, 0, 255)].astype(np.int64)
        elif shifted and kind != "colour":
            labels = labels - 1
        elif lines and kind in ("grey", "grey-rgb", "palette"):
            labels[parting_lines(labels.astype(np.uint8))] = -1
        labels[(labels < 0) | (labels >= dataset.num_classes)] = VOID
        result = labels.astype(np.uint8)
        if one.turned:
            result = turned(result, one.orientation)
        return result if one.image_size in (None, result.shape) else _fitted(result, one.image_size)

    return mend


def _fitted(labels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8] | None:
    """Labels scaled by nearest neighbour; None where the aspect ratio is another one."""
    rows, columns = size[0] / labels.shape[0], size[1] / labels.shape[1]
    if abs(rows / columns - 1) > ASPECT_TOLERANCE:
        return None
    resized = cv2.resize(labels, (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT)
    return cast("NDArray[np.uint8]", resized)
