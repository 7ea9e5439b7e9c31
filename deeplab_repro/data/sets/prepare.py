"""A data set as its authors give it, made ready: label maps of class numbers, lists, class names, in VOC's layout."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deeplab_repro.data.sets.datasets import VOID, Colour, write_classes
from deeplab_repro.files.atomic import replacing_folder
from deeplab_repro.files.images import read_image, write_image
from deeplab_repro.files.tiles import tile_windows

Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class SourceImage:
    """One image of a data set as its authors give it.

    Args:
        name: Under which its label map, or its tiles, are written.
        image: The image's file.
        labels: uint8 [H, W], a function that makes them, or None without truth.
        splits: The lists that name it.
    """

    name: str
    image: Path
    labels: Labels | Callable[[], Labels] | None
    splits: tuple[str, ...]


@dataclass(frozen=True)
class Source:
    """A data set as its authors give it.

    Args:
        images: The images, in the order of the lists.
        class_names: Names of the classes, by label.
        palette: Their RGB, None for VOC's colours.
        notes: What to tell about it.
        label_folder: The name of the folder for label maps.
        lists: Texts of lists as published, where their order is known, by file name.
    """

    images: Sequence[SourceImage]
    class_names: tuple[str, ...]
    palette: tuple[Colour, ...] | None = None
    notes: tuple[str, ...] = ()
    label_folder: str = "SegmentationClass"
    lists: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Prepared:
    """What was written.

    Args:
        counts: Images by split.
        notes: Those of the source.
    """

    counts: dict[str, int]
    notes: tuple[str, ...]


def write_prepared(
    source: Source,
    folder: Path,
    tile: tuple[tuple[int, int], tuple[int, int]] | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Prepared:
    """Write a data set into a new folder that `deeplab train`, `eval` and `doctor` take.

    JPEGImages holds links to the images, or overlapping tiles of them, NAME_0, NAME_1, ...; the label folder grey PNGs;
    ImageSets/Segmentation names; list/ Caffe's lines, for root_folder. Where it fails nothing is left behind.

    Args:
        source: The data set.
        folder: The new folder.
        tile: ((height, width), (overlap of rows, of columns)) in pixels; None for whole images.
        progress: Told how many images are done, and of how many.

    Returns:
        What was written.

    Raises:
        ValueError: The folder holds something, or an image or label map cannot be read.
        OSError: The folder cannot be written, or a file is missing.
    """
    lists: dict[str, list[str]] = {}
    without: set[str] = set()
    with replacing_folder(folder) as made:
        writer = _Writer(made, source.label_folder, tile)
        for done, image in enumerate(source.images):
            files = writer.add(image)
            for split in image.splits:
                lists.setdefault(split, []).extend(files)
                if image.labels is None:
                    without.add(split)
            progress(done + 1, len(source.images))
        for split, files in lists.items():
            names = [Path(file).stem for file in files]
            _write(made / "ImageSets" / "Segmentation" / f"{split}.txt", names)
            labels = ["" if split in without else f" /{source.label_folder}/{name}.png" for name in names]
            lines = [f"/JPEGImages/{file}{label}" for file, label in zip(files, labels, strict=True)]
            _write(made / "list" / f"{split}.txt", lines)
        for file, text in source.lists.items():
            (made / "list" / file).write_text(text)
        write_classes(made / "classes.json", source.class_names, source.palette)
    return Prepared({split: len(files) for split, files in lists.items()}, source.notes)


def _write(file: Path, lines: Iterable[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines))


class _Writer:
    def __init__(self, folder: Path, labels: str, tile: tuple[tuple[int, int], tuple[int, int]] | None) -> None:
        self._images, self._labels, self._tile = folder / "JPEGImages", folder / labels, tile
        self._images.mkdir()
        self._labels.mkdir()

    def add(self, source: SourceImage) -> list[str]:
        """Write an image and its labels, once; the image files' names."""
        labels = source.labels() if callable(source.labels) else source.labels
        if self._tile is None:
            file = f"{source.name}{source.image.suffix.lower()}"
            if not source.image.is_file():
                raise FileNotFoundError(f"{source.image}: no such image")
            (self._images / file).symlink_to(source.image.resolve())
            if labels is not None:
                write_image(labels, self._labels / f"{source.name}.png")
            return [file]
        pixels = read_image(source.image)
        files = []
        size, overlap = self._tile
        for i, window in enumerate(tile_windows(pixels.shape[0], pixels.shape[1], size, overlap)):
            files.append(f"{source.name}_{i}.png")
            write_image(np.ascontiguousarray(pixels[window]), self._images / files[-1])
            if labels is not None:
                write_image(np.ascontiguousarray(labels[window]), self._labels / files[-1])
        return files


def read_ids(file: Path) -> list[str]:
    """Read a list of names.

    Args:
        file: The list.

    Returns:
        The first word of every line that is not blank, without folder and suffix.

    Raises:
        FileNotFoundError: There is no such list.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such list")
    return [Path(line.split()[0]).stem for line in file.read_text().splitlines() if line.strip()]


def table_of(pairs: dict[int, int], size: int, otherwise: int = VOID) -> Labels:
    """A look-up table of labels.

    Args:
        pairs: New labels by old ones.
        size: How many old labels there are.
        otherwise: The new label of all others.

    Returns:
        uint8 [size].
    """
    table = np.full(size, otherwise, np.uint8)
    table[list(pairs)] = list(pairs.values())
    return table
