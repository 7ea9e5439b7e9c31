"""A folder of one's own: photographs in one folder, label maps of the same names in another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from deeplab_repro.data.sets.datasets import VOID, Colour, SegmentationDataset, read_classes
from deeplab_repro.data.sets.label_facts import class_colours, labels_of_colours, read_raw, undo_stretch
from deeplab_repro.data.sets.prepare import Labels, Source, SourceImage, read_ids
from deeplab_repro.files.images import SUFFIXES

IMAGE_FOLDERS = ("JPEGImages", "images", "imgs", "img")
LABEL_FOLDERS = ("SegmentationClass", "SegmentationClassAug", "labels", "masks", "annotations")
SPLITS = ("train", "val", "test")
# Without lists every so many-th image is kept for scoring.
EVERY = 10


def voc_layout(folder: Path, classes: str | Path | int | None = None) -> Source:
    """Read a folder with JPEGImages and SegmentationClass, or images/ and labels/, with train/ and val/ in them or not.

    Label maps are palette or grey pictures of class numbers, or pictures in the classes' colours. Splits are those of
    ImageSets/Segmentation, else the folders train and val, else every tenth image is val. Images without labels are
    left out.

    Args:
        folder: The folder.
        classes: Their number, or a JSON file with `classes` and perhaps `colours`; None takes the folder's own
            classes.json, else as many as there are labels.

    Returns:
        The data set.

    Raises:
        ValueError: There are no such folders or pairs, a list names no image that is there, or a label map cannot be
            read as labels; the message names the file.
        OSError: A file cannot be read.

    Example:
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from deeplab_repro.data.sets.prepare_own import voc_layout
        >>> from deeplab_repro.files.images import write_image
        >>> for name, pixels in (("images", np.zeros((4, 5, 3), np.uint8)), ("labels", np.ones((4, 5), np.uint8))):
        ...     Path("set", name).mkdir(parents=True)
        ...     write_image(pixels, Path("set", name, "a.png"))
        >>> source = voc_layout(Path("set"))
        >>> source.class_names, [image.splits for image in source.images]
        (('0', '1'), [('train',)])
    """
    images, labels = _folder(folder, IMAGE_FOLDERS), _folder(folder, LABEL_FOLDERS)
    photos, maps = _files(images), _files(labels)
    pairs = {name: maps[name] for name in photos if name in maps}
    if not pairs:
        raise ValueError(
            f"{folder}: no image of {images.name}/ has a label map of its name in {labels.name}/ "
            f"({', '.join(suffix[1:] for suffix in SUFFIXES)})"
        )
    names, palette, void = _classes(folder, classes)
    notes = []
    if len(pairs) < len(photos):
        left = [name for name in photos if name not in pairs]
        notes.append(f"left out, without labels: {len(left)} images, the first {photos[left[0]]}")
    splits, how = _splits(folder, list(pairs), photos)
    notes.append(how)
    read = _reader(
        SegmentationDataset(folder.name, (), names or tuple(map(str, range(21))), palette=palette, void=void)
    )
    if not names:
        highest = _highest(read, pairs)
        names = tuple(map(str, range(highest + 1)))
        notes.append(f"{len(names)} classes, 0 to {highest}, by the labels that occur; name them in classes.json")
    listed = [
        SourceImage(Path(name).name, photos[name], _later(read, pairs[name]), splits[name])
        for name in pairs
        if splits[name]
    ]
    _check_names(listed)
    return Source(listed, names, palette, tuple(notes))


def _folder(folder: Path, names: tuple[str, ...]) -> Path:
    inner = next((folder / name for name in names if (folder / name).is_dir()), None)
    if inner is None:
        raise ValueError(
            f"{folder}: holds no folder {' or '.join(names)}; photographs belong into JPEGImages/ (or images/), label "
            "maps of the same names into SegmentationClass/ (or labels/)"
        )
    return inner


def _files(folder: Path) -> dict[str, Path]:
    """Pictures by their name without suffix, those in train/, val/ and test/ with that before it."""
    found = {}
    for inner in (folder, *(folder / split for split in SPLITS)):
        if inner.is_dir():
            for file in sorted(inner.iterdir()):
                if file.suffix.lower() in SUFFIXES and file.is_file():
                    found[str(file.relative_to(folder).with_suffix(""))] = file
    return found


def _classes(
    folder: Path, classes: str | Path | int | None
) -> tuple[tuple[str, ...], tuple[Colour, ...] | None, tuple[int, ...]]:
    if classes is None and (folder / "classes.json").is_file():
        classes = folder / "classes.json"
    if classes is None:
        return (), None, (VOID,)
    if str(classes).isdigit():
        if not 1 <= int(str(classes)) <= VOID:
            raise ValueError(f"--classes {classes}: must lie in 1..{VOID}, as labels are 8-bit and {VOID} is void")
        return tuple(map(str, range(int(str(classes))))), None, (VOID,)
    return read_classes(Path(str(classes)))


def _splits(folder: Path, names: list[str], photos: Mapping[str, Path]) -> tuple[dict[str, tuple[str, ...]], str]:
    """The lists that name each image, and in words where they are from."""
    lists = sorted((folder / "ImageSets" / "Segmentation").glob("*.txt"))
    if lists:
        told = {file.stem: set(read_ids(file)) for file in lists}
        of_name = {name: tuple(split for split, ids in told.items() if Path(name).name in ids) for name in names}
        if not any(of_name.values()):
            raise ValueError(f"{lists[0]}: names none of the images in {folder}")
        return of_name, f"splits of {lists[0].parent}: {', '.join(told)}"
    parts = {name: Path(name).parts[0] for name in names if len(Path(name).parts) > 1}
    if parts:
        return {name: (parts.get(name, "train"),) for name in names}, "splits by the folders train and val"
    # Every tenth, counted from the end: a single image is one to train on.
    of_name = {name: ("val",) if index % EVERY == EVERY - 1 else ("train",) for index, name in enumerate(names)}
    return of_name, f"no lists there: every {EVERY}th image is val; write ImageSets/Segmentation/*.txt for others"


def _reader(dataset: SegmentationDataset) -> Callable[[Path], Labels]:
    colours = class_colours(dataset)

    def read(file: Path) -> Labels:
        try:
            kind, pixels = read_raw(file)
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from error
        if kind == "colour":
            labels = labels_of_colours(pixels.astype(np.uint8), colours)
            if (labels < 0).any():
                colour = tuple(map(int, pixels[labels < 0][0]))
                raise ValueError(f"{file}: a colour picture, and RGB {colour} is no class's; give --classes a JSON "
                                 "file with `classes` and `colours`")  # fmt: skip
        else:
            labels = undo_stretch(file, pixels).astype(np.int64)
        if labels.size and not 0 <= labels.min() <= labels.max() <= VOID:
            raise ValueError(f"{file}: holds label {labels.max()}, labels lie in 0..{VOID}")
        labels[np.isin(labels, dataset.void)] = VOID
        return labels.astype(np.uint8)

    return read


def _later(read: Callable[[Path], Labels], file: Path) -> Callable[[], Labels]:
    return lambda: read(file)


def _highest(read: Callable[[Path], Labels], pairs: Mapping[str, Path]) -> int:
    highest = 0
    for file in pairs.values():
        labels = read(file)
        known = labels[labels != VOID]
        highest = max(highest, int(known.max())) if known.size else highest
    return highest


def _check_names(images: list[SourceImage]) -> None:
    """ValueError where train/ and val/ hold files of one name, which would be written over each other."""
    seen: dict[str, Path] = {}
    for image in images:
        if seen.setdefault(image.name, image.image) != image.image:
            raise ValueError(f"{seen[image.name]} and {image.image}: have one name; rename one, with its label map")
