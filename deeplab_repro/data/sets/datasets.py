"""Folders of images with label maps, as samples: VOC's layout, Cityscapes', and plain list files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deeplab_repro.data.sets.class_tables import (
    CITYSCAPES,
    CITYSCAPES_PALETTE,
    VOC,
    cityscapes_label_ids,
    cityscapes_train_ids,
)
from deeplab_repro.files.atomic import write_text
from deeplab_repro.files.images import SUFFIXES, read_image, read_label_map
from deeplab_repro.files.lists import read_pairs

VOID = 255
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Sample:
    """One image of a data set.

    Args:
        name: By which scores, labels and counts of it are kept.
        image: The image's file.
        label: The label map's file, None where a split has no published truth.
    """

    name: str
    image: Path
    label: Path | None


@dataclass(frozen=True)
class SegmentationDataset:
    """Images with label maps.

    Args:
        name: The set's name.
        samples: The images of the split, in its order.
        class_names: Names of the classes, by label.
        kind: Its layout: "voc", "cityscapes" or "list".
        split: The split's name.
        void: Labels that count as no class.
        palette: RGB of the classes, or None for VOC's colours.
        from_file: Class of every label as stored, uint8 [256], or None where they are the same.
        to_file: The way back, for submissions.
    """

    name: str
    samples: tuple[Sample, ...]
    class_names: tuple[str, ...]
    kind: str = "list"
    split: str = ""
    void: tuple[int, ...] = (VOID,)
    palette: tuple[Colour, ...] | None = None
    from_file: NDArray[np.uint8] | None = field(default=None, compare=False)
    to_file: NDArray[np.uint8] | None = field(default=None, compare=False)

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def has_truth(self) -> bool:
        """Whether any image has its label map: those of a test split may be kept by its server."""
        return any(sample.label is not None for sample in self.samples)

    def check_names(self) -> None:
        """Make sure that no two images have one name: what is kept by name would be the other's.

        Raises:
            ValueError: Two have; the message names their files.
        """
        files: dict[str, Path] = {}
        for sample in self.samples:
            if files.setdefault(sample.name, sample.image) != sample.image:
                raise ValueError(
                    f"{files[sample.name]} and {sample.image}: both are called {sample.name!r}, by which scores, "
                    "labels and counts are kept; rename one"
                )

    def image(self, sample: Sample) -> NDArray[np.uint8]:
        """Read the image of a sample.

        Args:
            sample: The sample.

        Returns:
            RGB uint8 [H, W, 3], EXIF turns applied.

        Raises:
            OSError: The file cannot be read.
            ValueError: The file is no image, or a damaged one.
        """
        return read_image(sample.image)

    def truth(self, sample: Sample) -> NDArray[np.uint8]:
        """Read the label map of a sample.

        Args:
            sample: The sample.

        Returns:
            Classes and void labels, uint8 [H, W].

        Raises:
            OSError: The file cannot be read.
            ValueError: There is no truth, or the picture is no label map of this set; the message names the file.
        """
        if sample.label is None:
            raise ValueError(f"{sample.image}: the split {self.split!r} has no label maps; its truth is not published")
        labels = read_label_map(sample.label)
        if self.from_file is not None:
            labels = self.from_file[labels]
        known = np.unique(labels)
        wrong = [int(label) for label in known if label >= self.num_classes and label not in self.void]
        if wrong:
            raise ValueError(
                f"{sample.label}: holds label {wrong[0]}, the data set has {self.num_classes} classes; "
                "`deeplab doctor` tells what is wrong with the labels"
            )
        return labels


def open_dataset(
    path: Path, split: str = "val", classes: str | Path | int | None = None, root: Path | None = None
) -> SegmentationDataset:
    """Open a data set: a folder or a list file.

    Args:
        path: A folder with JPEGImages and SegmentationClass (VOC's layout; with classes.json it may be any set), one
            with leftImg8bit and gtFine (Cityscapes), or a list file of `image label` lines.
        split: Which list or folder of it.
        classes: Their number, or a JSON file with `classes` and perhaps `colours`; None takes what the folder tells.
        root: Put before a list's names; by default the list's own folder, or one above it where the first name is
            found.

    Returns:
        The data set.

    Raises:
        ValueError: The layout is none of these, a list cannot be used, or nothing tells the classes.
        OSError: A file cannot be read.
    """
    path = Path(path)
    if path.is_file():
        dataset = _from_list(path, root)
    elif (path / "leftImg8bit").is_dir():
        dataset = _cityscapes(path, split)
    elif (path / "JPEGImages").is_dir():
        dataset = _voc(path, split)
    elif not path.exists():
        raise FileNotFoundError(f"{path}: no such folder or list file")
    else:
        raise ValueError(
            f"{path}: no data set; it should hold JPEGImages and SegmentationClass (VOC), leftImg8bit and gtFine "
            "(Cityscapes), or be a list file"
        )
    if classes is not None:
        dataset = _with_classes(dataset, classes)
    if not dataset.class_names:
        raise ValueError(f"{path}: how many classes? Give --classes a number, or a JSON file with their names")
    return dataset


def _with_classes(dataset: SegmentationDataset, classes: str | Path | int) -> SegmentationDataset:
    if str(classes).isdigit():
        count = int(str(classes))
        _check_count(count, "--classes")
        return replace(dataset, class_names=tuple(map(str, range(count))), palette=None)
    names, palette, void = read_classes(Path(str(classes)))
    return replace(dataset, class_names=names, palette=palette, void=void)


def read_classes(file: Path) -> tuple[tuple[str, ...], tuple[Colour, ...] | None, tuple[int, ...]]:
    """Read a classes.json.

    Args:
        file: The file.

    Returns:
        Class names, their RGB or None, and void labels.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no such file, or its numbers do not fit.
    """
    try:
        facts = json.loads(file.read_text())
        # "names" is what other tools call the list.
        names = tuple(map(str, facts["classes"] if "classes" in facts else facts["names"]))
        colours = facts.get("colours") or facts.get("colors")
        palette = None if colours is None else tuple((int(r), int(g), int(b)) for r, g, b in colours)
        void = int(facts.get("void_label", VOID))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{file}: must be JSON with a list `classes`, and perhaps `colours`: {error!r}") from error
    _check_count(len(names), str(file))
    if palette is not None and (
        len(palette) != len(names) or not all(0 <= channel < 256 for colour in palette for channel in colour)
    ):
        raise ValueError(f"{file}: `colours` must be one RGB of 0..255 for each of the {len(names)} classes")
    if not 0 <= void <= 255:
        raise ValueError(f"{file}: void_label is {void}, must lie in 0..255")
    return names, palette, (void,)


def write_classes(file: Path, names: Sequence[str], palette: Sequence[Colour] | None) -> None:
    """Write what `read_classes` reads, with void 255.

    Args:
        file: The file.
        names: Class names.
        palette: Their RGB, None for VOC's colours.

    Raises:
        OSError: The file cannot be written.
    """
    write_text(file, json.dumps({"classes": names, "colours": palette, "void_label": VOID}, indent=1) + "\n")


def _check_count(classes: int, where: str) -> None:
    if not 1 <= classes <= 255:
        raise ValueError(f"{where}: {classes} classes; must lie in 1..255, as labels are 8-bit and 255 is void")


def _voc(folder: Path, split: str) -> SegmentationDataset:
    lists = [folder / "ImageSets" / inner / f"{split}.txt" for inner in ("Segmentation", "SegmentationAug")]
    file = next((candidate for candidate in lists if candidate.is_file()), None)
    if file is None:
        there = sorted({other.stem for candidate in lists for other in candidate.parent.glob("*.txt")})
        raise ValueError(f"{lists[0]}: no such list; splits here: {', '.join(there) or 'none'}")
    labels = folder / "SegmentationClass"
    if (folder / "SegmentationClassAug").is_dir() and ("aug" in split or not labels.is_dir()):
        labels = folder / "SegmentationClassAug"
    samples = []
    for _, words in read_pairs(file, 1):
        # DeepLab's own lists name both files from the folder on; the kit's hold ids.
        name = Path(words[0]).stem
        image = folder / words[0].lstrip("/") if "/" in words[0] else image_of(folder / "JPEGImages", name)
        label = folder / words[1].lstrip("/") if len(words) > 1 and "/" in words[1] else labels / f"{name}.png"
        # VOC keeps the truth of its test split; other sets in its layout come with theirs.
        with_truth = labels.is_dir() and (split != "test" or label.is_file())
        samples.append(Sample(name, image, label if with_truth else None))
    names: tuple[str, ...] = VOC
    void: tuple[int, ...] = (VOID,)
    palette = None
    if (folder / "classes.json").is_file():
        names, palette, void = read_classes(folder / "classes.json")
    return SegmentationDataset(folder.resolve().name, tuple(samples), names, "voc", split, void, palette)


def image_of(folder: Path, name: str) -> Path:
    """Find an image by its stem.

    Args:
        folder: Where to look.
        name: The stem.

    Returns:
        The file, NAME.jpg where there is none.
    """
    files = (folder / f"{name}{suffix}" for suffix in SUFFIXES)
    return next((file for file in files if file.is_file()), folder / f"{name}.jpg")


def _cityscapes(folder: Path, split: str) -> SegmentationDataset:
    images = sorted((folder / "leftImg8bit" / split).glob("*/*_leftImg8bit.png"))
    if not images:
        raise ValueError(f"{folder / 'leftImg8bit' / split}: no images CITY/*_leftImg8bit.png")
    samples, stored = [], set()
    for image in images:
        name = image.name.removesuffix("_leftImg8bit.png")
        base = folder / "gtFine" / split / image.parent.name
        trained, full = base / f"{name}_gtFine_labelTrainIds.png", base / f"{name}_gtFine_labelIds.png"
        label = trained if trained.is_file() else full
        stored.add(label.name.rpartition("_")[2])
        samples.append(Sample(name, image, None if split == "test" else label))
    if len(stored) > 1:
        raise ValueError(f"{folder / 'gtFine' / split}: train ids for some images, label ids for others; complete one")
    ids = stored == {"labelIds.png"}
    return SegmentationDataset(
        "cityscapes", tuple(samples), CITYSCAPES, "cityscapes", split, (VOID,), CITYSCAPES_PALETTE,
        cityscapes_train_ids() if ids else None, cityscapes_label_ids(),
    )  # fmt: skip


def _from_list(file: Path, root: Path | None) -> SegmentationDataset:
    pairs = read_pairs(file, 1)
    first = pairs[0][1][0]
    bases = [root] if root is not None else [file.parent, *list(file.parent.parents)[:2], Path()]
    base = next((folder for folder in bases if (folder / first.lstrip("/")).is_file()), bases[0])
    samples = []
    for _, words in pairs:
        image, *label = (Path(f"{base}/{word.lstrip('/')}") for word in words[:2])
        samples.append(Sample(image.stem, image, label[0] if label else None))
    beside = (folder / "classes.json" for folder in (file.parent, base))
    classes = next((candidate for candidate in beside if candidate.is_file()), None)
    names, palette, void = read_classes(classes) if classes else ((), None, (VOID,))
    return SegmentationDataset(file.stem, tuple(samples), names, "list", file.stem, void, palette)
