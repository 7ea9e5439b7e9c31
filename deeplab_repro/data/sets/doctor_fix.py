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
from deeplab_repro.data.sets.doctor import Diagnosis, has_zero_lines, is_shifted, part_grey_palettes
from deeplab_repro.data.sets.label_facts import (
    Finding,
    class_colours,
    class_greys,
    labels_of_colours,
    overlap,
    parting_lines,
    read_raw,
    repeated,
    undo_stretch,
)
from deeplab_repro.files.atomic import replacing_folder
from deeplab_repro.files.images import turned, write_image

# Sides may differ by rounding when an image was scaled.
ASPECT_TOLERANCE = 0.02


@dataclass(frozen=True)
class Repair:
    """What a repaired copy holds.

    Args:
        kept: The number of samples by split.
        left_out: The reason by "split: image file".
    """

    kept: dict[str, int]
    left_out: dict[str, str]


def write_repaired(
    datasets: Sequence[SegmentationDataset],
    diagnosis: Diagnosis,
    folder: Path,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Repair:
    """Copy a data set to a new folder with its faults mended where they can be.

    Images stay as they are, labels become grey PNGs of class numbers with void 255; the lists go without what cannot be
    mended, without doubles and without overlap.

    Args:
        datasets: The splits.
        diagnosis: What `diagnose` gave for them.
        folder: The new folder.
        progress: Told how many samples are done, and of how many.

    Returns:
        What the copy holds.

    Raises:
        ValueError: The folder holds something.
        OSError: The folder cannot be written.
    """
    dataset, findings = datasets[0], diagnosis.findings
    mend = _mender(dataset, findings)
    names: dict[str, Path] = {}
    lists: dict[str, list[str]] = {part.split: [] for part in datasets}
    left_out: dict[str, str] = {}
    doubled = _to_leave_out([part.split for part in datasets], findings)
    with replacing_folder(folder) as made:
        images, labels = made / "JPEGImages", made / "SegmentationClass"
        for inner in (images, labels, made / "ImageSets" / "Segmentation"):
            inner.mkdir(parents=True)
        for done, finding in enumerate(findings):
            reason = doubled.get(id(finding)) or finding.image_error or finding.label_error
            mended = None if reason or finding.sample.label is None else mend(finding)
            if finding.lossy:
                reason = "labels stored as JPEG"
            elif not reason and mended is None and finding.sample.label is not None:
                reason = f"labels of {finding.label_size} do not fit an image of {finding.image_size}"
            if reason:
                left_out[f"{finding.split}: {finding.sample.image}"] = reason
            else:
                name = _own_name(finding, names)
                shutil.copyfile(finding.sample.image, images / f"{name}{finding.sample.image.suffix.lower()}")
                if mended is not None:
                    write_image(mended, labels / f"{name}.png")
                lists[finding.split].append(name)
            progress(done + 1, len(findings))
        for split, listed in lists.items():
            (made / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("".join(f"{name}\n" for name in listed))
        write_classes(made / "classes.json", dataset.class_names, dataset.palette)
    return Repair({split: len(listed) for split, listed in lists.items()}, left_out)


def _own_name(finding: Finding, names: dict[str, Path]) -> str:
    """The sample's name, told apart by its folder where another image has it."""
    name = finding.sample.name
    while names.setdefault(name, finding.sample.image) != finding.sample.image:
        name = f"{finding.sample.image.parent.name}_{name}"
    return name


def _to_leave_out(splits: Sequence[str], findings: Sequence[Finding]) -> dict[int, str]:
    """Findings, by identity, that are doubles inside a split or in a later split too."""
    inside: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        inside[finding.split].append(finding)
    reasons = {id(finding): "listed twice" for members in inside.values() for finding in repeated(members)}
    for i, split in enumerate(splits):
        for later in splits[i + 1 :]:
            if split.startswith("trainval") or later.startswith("trainval"):
                continue
            reasons |= {id(finding): f"also in {later}" for finding in overlap(inside[split], inside[later])}
    return reasons


def _mender(dataset: SegmentationDataset, findings: Sequence[Finding]) -> Callable[[Finding], NDArray[np.uint8] | None]:
    """A function from a sample's finding to mended labels [H, W], None where they cannot be fitted to the image."""
    known = [finding for finding in findings if not finding.orders and finding.bits == 8]
    palettes, rest = part_grey_palettes(dataset, known)
    shifted, lines = is_shifted(dataset, rest), has_zero_lines(dataset, rest)
    from_grey = {id(finding) for finding in palettes}
    colours, greys = class_colours(dataset), class_greys(dataset)

    def mend(finding: Finding) -> NDArray[np.uint8] | None:
        assert finding.sample.label is not None
        kind, pixels = read_raw(finding.sample.label)
        labels = labels_of_colours(pixels.astype(np.uint8), colours) if kind == "colour" else pixels.astype(np.int64)
        if finding.bits < 8:
            labels = undo_stretch(finding.sample.label, labels).astype(np.int64)
        elif finding.orders:
            table = np.full(256, -1, np.int64)
            for index, label in finding.orders:
                table[index] = label
            labels = table[labels]
        elif id(finding) in from_grey:
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
        if finding.turned:
            result = turned(result, finding.orientation)
        return result if finding.image_size in (None, result.shape) else _fitted(result, finding.image_size)

    return mend


def _fitted(labels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8] | None:
    """Labels scaled by nearest neighbour; None where the aspect ratio is another one."""
    rows, columns = size[0] / labels.shape[0], size[1] / labels.shape[1]
    if abs(rows / columns - 1) > ASPECT_TOLERANCE:
        return None
    resized = cv2.resize(labels, (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT)
    return cast("NDArray[np.uint8]", resized)
