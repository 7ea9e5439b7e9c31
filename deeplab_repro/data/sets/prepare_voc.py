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
    """VOC 2012, and with SBD (its folder `dataset` with cls/*.mat) the augmented lists of the papers.

    train_aug is SBD's train and val and VOC's train, without VOC's val; VOC's own label maps win over SBD's. Where the
    names are the published ones, so are the lists, to their md5.
    Raises ValueError and OSError for folders that are not laid out as released."""
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
    entries = [
        SourceImage(name, image_of(name), None if name in test else labels_of(name), tuple(inside))
        for name, inside in sorted(members.items())
    ]
    label_folder = "SegmentationClassAug"
    published, notes = _as_published(splits, train, label_folder)
    return Source(entries, VOC, None, (*_count_notes(splits, COUNTS), *notes), label_folder, published)


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
            match = next((each for each in (text, text[:-1]) if _md5(each) == digest), None)
            if match is not None:
                texts[f"{split}.txt"] = match
                break
        same = "the published list, byte for byte" if f"{split}.txt" in texts else "not the published list's bytes"
        notes.append(f"{split}.txt: {same} (md5 {digest})")
    return texts, tuple(notes)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def load_struct(file: Path, variable: str) -> Any:
    """A variable of a MATLAB file, structs as objects; ValueError naming file and variable where there is none."""
    from scipy.io import loadmat

    try:
        return loadmat(file, struct_as_record=False, squeeze_me=True)[variable]
    except FileNotFoundError:
        raise
    except Exception as error:  # scipy raises whatever its parser stumbles over
        raise ValueError(f"{file}: not a MATLAB file with a variable {variable}: {error}") from error


def load_labels(file: Path, variable: str) -> NDArray[np.int64]:
    """A label map [H, W] out of a MATLAB file; ValueError naming file and variable for anything else.

    MATLAB's numbers are doubles unless somebody chose otherwise."""
    found = np.asarray(load_struct(file, variable))
    whole = found.dtype.kind in "uif" and bool(((found >= 0) & (found < 1 << 16) & (found == np.floor(found))).all())
    if found.ndim != 2 or not whole:
        raise ValueError(f"{file}: {variable} must be a map of whole numbers, is {found.dtype} {list(found.shape)}")
    return found.astype(np.int64)


def read_sbd(file: Path) -> Labels:
    """Class labels uint8 [H, W] of one of SBD's cls/*.mat."""
    try:
        return np.ascontiguousarray(load_struct(file, "GTcls").Segmentation, np.uint8)
    except AttributeError as error:
        raise ValueError(f"{file}: GTcls has no Segmentation; is it one of SBD's cls/*.mat?") from error


def context(folder: Path, voc: Path, classes: int = 59) -> Source:
    """PASCAL-Context: trainval/*.mat and labels.txt in `folder`, images and ImageSets/Main in VOC2010's folder `voc`.

    classes: 59, everything else being void, or 60 with background for it.
    Raises ValueError and OSError for folders that are not laid out as released."""
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
            found = load_labels(file, "LabelMap")
            if found.max() >= len(table):
                raise ValueError(f"{file}: holds label {found.max()}, labels.txt ends at {len(table) - 1}")
            return table[found]

        return read

    entries = [
        SourceImage(name, voc / "JPEGImages" / f"{name}.jpg", labels_of(name), (split,))
        for split, names in splits.items()
        for name in names
    ]
    names = ("background", *CONTEXT_59) if first else CONTEXT_59
    return Source(entries, names, None, tuple(_count_notes(splits, CONTEXT_COUNTS)))


def _numbered_names(file: Path) -> dict[str, int]:
    """Numbers by name out of lines `12: name`."""
    found = {}
    for number, line in enumerate(file.read_text().splitlines(), 1):
        if not line.strip():
            continue
        label, colon, name = line.partition(":")
        if not colon or not label.strip().isdigit():
            raise ValueError(f"{file}:{number}: a line is NUMBER: NAME, found {line[:60]!r}")
        found[name.strip()] = int(label)
    return found


def person_part(folder: Path, voc: Path) -> Source:
    """Person-Part: PASCAL-Part's Annotations_Part/*.mat merged into six parts and background; images and
    ImageSets/Main in VOC2010's folder `voc`. Images without an annotated part of a person are left out.

    Raises ValueError and OSError for folders that are not laid out as released."""
    annotations = folder / "Annotations_Part" if (folder / "Annotations_Part").is_dir() else folder
    splits: dict[str, list[str]] = {}
    entries = []
    for split in ("train", "val"):
        names = read_ids(voc / "ImageSets" / "Main" / f"{split}.txt")
        for name in names:
            file = annotations / f"{name}.mat"
            labels = merge_person_parts(file) if file.is_file() else None
            if labels is not None and labels.any():
                # Read again when it is written: all of them at once would fill the memory.
                entries.append(SourceImage(name, voc / "JPEGImages" / f"{name}.jpg", _merged(file), (split,)))
                splits.setdefault(split, []).append(name)
    if not entries:
        raise ValueError(f"{annotations}: no annotation of a person's parts for the images of {voc}")
    return Source(entries, PERSON_PART, None, tuple(_count_notes(splits, PERSON_PART_COUNTS)))


def _merged(file: Path) -> Callable[[], Labels]:
    def read() -> Labels:
        labels = merge_person_parts(file)
        assert labels is not None
        return labels

    return read


def merge_person_parts(file: Path) -> Labels | None:
    """Labels uint8 [H, W] of the seven Person-Part classes out of a PASCAL-Part annotation; None without a person.

    ValueError for another file, and for a part whose name is not one of a person's."""
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
