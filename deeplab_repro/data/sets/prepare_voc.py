"""PASCAL's sets: VOC 2012 with SBD's extra labels, Context, Person-Part."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeplab_repro.data.sets.class_tables import CONTEXT_59, PERSON_PART, PERSON_PARTS, VOC
from deeplab_repro.data.sets.prepare import Labels, Source, SourceImage, read_ids, table_of
from deeplab_repro.files.images import read_label_map

# How many images the authors' lists hold, and the md5 of the two that both forks share.
COUNTS = {"train": 1464, "val": 1449, "train_aug": 10582, "trainval_aug": 12031, "test": 1456}
MD5 = {"train_aug": "3458f25de571f26d2b280a72356584ad", "val": "53d7327483929cb14e992cc3da52e2f2"}
CONTEXT_COUNTS = {"train": 4998, "val": 5105}
PERSON_PART_COUNTS = {"train": 1716, "val": 1817}


def voc2012(folder: Path, sbd: Path | None = None) -> Source:
    """Read VOC 2012, and with SBD the augmented lists of the papers.

    train_aug is SBD's train and val and VOC's train, without VOC's val; VOC's own label maps win over SBD's. Where the
    names are the published ones, so are the lists, to their md5.

    Args:
        folder: VOC2012.
        sbd: SBD's folder `dataset` with cls/*.mat.

    Returns:
        The data set.

    Raises:
        ValueError: SBD's folder has no label maps.
        OSError: A list is missing.
    """
    lists = folder / "ImageSets" / "Segmentation"
    train, val = (read_ids(lists / f"{split}.txt") for split in ("train", "val"))
    test = read_ids(lists / "test.txt") if (lists / "test.txt").is_file() else []
    own = {*train, *val}
    splits: dict[str, list[str]] = {"train": train, "val": val, "trainval": sorted(own)}
    if sbd is not None:
        extra = {file.stem for file in (sbd / "cls").glob("*.mat")} - set(val) - set(train)
        if not extra:
            raise ValueError(f"{sbd / 'cls'}: no .mat files; give the folder `dataset` of SBD's benchmark_RELEASE")
        splits["train_aug"] = sorted({*extra, *train})
        splits["trainval_aug"] = sorted({*extra, *own})
    if test:
        splits["test"] = test

    def labels_of(name: str) -> Callable[[], Labels]:
        if name in own:
            return lambda: read_label_map(folder / "SegmentationClass" / f"{name}.png")
        assert sbd is not None
        return lambda: read_sbd(sbd / "cls" / f"{name}.mat")

    def image_of(name: str) -> Path:
        image = folder / "JPEGImages" / f"{name}.jpg"
        return image if image.is_file() or sbd is None else sbd / "img" / f"{name}.jpg"

    members = _members(splits)
    images = [
        SourceImage(name, image_of(name), None if name in test else labels_of(name), tuple(inside))
        for name, inside in sorted(members.items())
    ]
    label_folder = "SegmentationClassAug"
    published, notes = _as_published(splits, train, label_folder)
    return Source(images, VOC, None, (*_count_notes(splits, COUNTS), *notes), label_folder, published)


def _members(splits: dict[str, list[str]]) -> dict[str, list[str]]:
    members: dict[str, list[str]] = {}
    for split, names in splits.items():
        for name in names:
            members.setdefault(name, []).append(split)
    return members


def _count_notes(splits: dict[str, Sequence[str]] | dict[str, list[str]], expected: dict[str, int]) -> Iterable[str]:
    for split, names in splits.items():
        if split in expected:
            same = "as published" if len(names) == expected[split] else f"the published list has {expected[split]}"
            yield f"{split}: {len(names)} images, {same}"


def _as_published(
    splits: dict[str, list[str]], train: list[str], label_folder: str
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Texts of the lists whose md5 is known, in whichever likely order gives it."""
    texts, notes = {}, []
    for split, digest in MD5.items():
        names = splits.get(split, [])
        if len(names) != COUNTS[split]:
            continue
        orders = [sorted(names), names, [*train, *sorted(set(names) - set(train))]]
        for order in orders:
            text = "".join(f"/JPEGImages/{name}.jpg /{label_folder}/{name}.png\n" for name in order)
            match = next((variant for variant in (text, text[:-1]) if _md5(variant) == digest), None)
            if match is not None:
                texts[f"{split}.txt"] = match
                break
        same = "the published list, byte for byte" if f"{split}.txt" in texts else "not the published list's bytes"
        notes.append(f"{split}.txt: {same} (md5 {digest})")
    return texts, tuple(notes)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def load_struct(file: Path, variable: str) -> Any:
    """Read a variable of a MATLAB file.

    Args:
        file: The file.
        variable: The variable's name.

    Returns:
        Its value, structs as objects, axes of length 1 dropped.

    Raises:
        ValueError: There is no such variable, or it is no MATLAB file; the message names both.
        FileNotFoundError: There is no such file.
    """
    from scipy.io import loadmat

    try:
        return loadmat(file, struct_as_record=False, squeeze_me=True)[variable]
    except FileNotFoundError:
        raise
    except Exception as error:  # scipy raises whatever its parser stumbles over
        raise ValueError(f"{file}: not a MATLAB file with a variable {variable}: {error}") from error


def load_labels(file: Path, variable: str) -> NDArray[np.int64]:
    """Read a label map out of a MATLAB file, whose numbers are doubles unless somebody chose otherwise.

    Args:
        file: The file.
        variable: The map's name.

    Returns:
        Labels int64 [H, W], each below 65536.

    Raises:
        ValueError: There is no such variable, or it is no such map; the message names both.
        FileNotFoundError: There is no such file.
    """
    labels = np.asarray(load_struct(file, variable))
    whole = labels.dtype.kind in "uif" and bool(
        ((labels >= 0) & (labels < 1 << 16) & (labels == np.floor(labels))).all()
    )
    if labels.ndim != 2 or not whole:
        raise ValueError(f"{file}: {variable} must be a map of whole numbers, is {labels.dtype} {list(labels.shape)}")
    return labels.astype(np.int64)


def read_sbd(file: Path) -> Labels:
    """Read the label map of one of SBD's cls/*.mat.

    Args:
        file: The file.

    Returns:
        Classes, uint8 [H, W].

    Raises:
        ValueError: It is no such file.
        FileNotFoundError: There is no such file.
    """
    try:
        return np.ascontiguousarray(load_struct(file, "GTcls").Segmentation, np.uint8)
    except AttributeError as error:
        raise ValueError(f"{file}: GTcls has no Segmentation; is it one of SBD's cls/*.mat?") from error


def context(folder: Path, voc: Path, classes: int = 59) -> Source:
    """Read PASCAL-Context.

    Args:
        folder: With trainval/*.mat and labels.txt.
        voc: VOC2010, with images and ImageSets/Main.
        classes: 59, everything else being void, or 60 with background for it.

    Returns:
        The data set.

    Raises:
        ValueError: There are other than 59 or 60 classes, or labels.txt does not name all 59.
        OSError: A list is missing.
    """
    if classes not in (59, 60):
        raise ValueError(f"PASCAL-Context has 59 or 60 classes, not {classes}")
    numbers = _numbered_names(folder / "labels.txt")
    lacking = [name for name in CONTEXT_59 if name not in numbers]
    if lacking:
        raise ValueError(f"{folder / 'labels.txt'}: does not name {lacking[0]!r}, one of the 59 classes")
    first = classes - 59
    pairs = {numbers[name]: first + i for i, name in enumerate(CONTEXT_59)}
    table = table_of(pairs, max(numbers.values()) + 1, 0 if first else 255)
    splits = {split: read_ids(voc / "ImageSets" / "Main" / f"{split}.txt") for split in ("train", "val")}

    def labels_of(name: str) -> Callable[[], Labels]:
        file = folder / "trainval" / f"{name}.mat"

        def read() -> Labels:
            labels = load_labels(file, "LabelMap")
            if labels.max() >= len(table):
                raise ValueError(f"{file}: holds label {labels.max()}, labels.txt ends at {len(table) - 1}")
            return table[labels]

        return read

    images = [
        SourceImage(name, voc / "JPEGImages" / f"{name}.jpg", labels_of(name), (split,))
        for split, names in splits.items()
        for name in names
    ]
    names = ("background", *CONTEXT_59) if first else CONTEXT_59
    return Source(images, names, None, tuple(_count_notes(splits, CONTEXT_COUNTS)))


def _numbered_names(file: Path) -> dict[str, int]:
    """Numbers by name out of lines `12: name`."""
    numbers = {}
    for number, line in enumerate(file.read_text().splitlines(), 1):
        if not line.strip():
            continue
        label, colon, name = line.partition(":")
        if not colon or not label.strip().isdigit():
            raise ValueError(f"{file}:{number}: a line is NUMBER: NAME, found {line[:60]!r}")
        numbers[name.strip()] = int(label)
    return numbers


def person_part(folder: Path, voc: Path) -> Source:
    """Read Person-Part: PASCAL-Part's annotations merged into six parts and background.

    Images without an annotated part of a person are left out.

    Args:
        folder: PASCAL-Part, with Annotations_Part/*.mat.
        voc: VOC2010, with images and ImageSets/Main.

    Returns:
        The data set.

    Raises:
        ValueError: An annotation cannot be read, or none has a person's parts.
        OSError: A list is missing.
    """
    annotations = folder / "Annotations_Part" if (folder / "Annotations_Part").is_dir() else folder
    splits: dict[str, list[str]] = {}
    images = []
    for split in ("train", "val"):
        names = read_ids(voc / "ImageSets" / "Main" / f"{split}.txt")
        for name in names:
            file = annotations / f"{name}.mat"
            labels = merge_person_parts(file) if file.is_file() else None
            if labels is not None and labels.any():
                # Read again when it is written: all of them at once would fill the memory.
                images.append(SourceImage(name, voc / "JPEGImages" / f"{name}.jpg", _merged(file), (split,)))
                splits.setdefault(split, []).append(name)
    if not images:
        raise ValueError(f"{annotations}: no annotation of a person's parts for the images of {voc}")
    return Source(images, PERSON_PART, None, tuple(_count_notes(splits, PERSON_PART_COUNTS)))


def _merged(file: Path) -> Callable[[], Labels]:
    def read() -> Labels:
        labels = merge_person_parts(file)
        assert labels is not None
        return labels

    return read


def merge_person_parts(file: Path) -> Labels | None:
    """Read the labels of the seven Person-Part classes out of a PASCAL-Part annotation.

    Args:
        file: The annotation.

    Returns:
        Labels uint8 [H, W]; None without a person.

    Raises:
        ValueError: It is no such annotation, or a part's name is not one of a person's.
        FileNotFoundError: There is no such file.
    """
    labels = None
    try:
        for item in np.atleast_1d(load_struct(file, "anno").objects):
            if item.__dict__.get("class") != "person":
                continue
            labels = np.zeros(item.mask.shape, np.uint8) if labels is None else labels
            for part in np.atleast_1d(item.parts):
                if part.part_name not in PERSON_PARTS:
                    raise ValueError(f"{file}: a person has no part {part.part_name!r}")
                labels[part.mask > 0] = PERSON_PARTS[part.part_name]
    except (AttributeError, IndexError) as error:
        raise ValueError(f"{file}: no annotation of PASCAL-Part: {error}") from error
    return labels
