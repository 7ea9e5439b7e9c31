"""A data set in the layout of PASCAL VOC, as the papers' lists name it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_IMAGE_SUFFIXES = (".jpg", ".png", ".jpeg", ".ppm")


@dataclass(frozen=True)
class VocFolder:
    """One split: JPEGImages/ID.jpg and LABELS/ID.png under `root`, ids in ImageSets/Segmentation/SPLIT.txt."""

    dataset: str
    root: Path
    split: str
    labels: str
    names: tuple[str, ...]

    @classmethod
    def find(
        cls, folder: str | os.PathLike[str], dataset: str, split: str, labels: str = "SegmentationClass"
    ) -> VocFolder:
        """The split in `folder`, or in its sub-folder of the data set's name (VOCdevkit/VOC2012).

        A list holds ids, or lines as in DeepLab's own lists, /JPEGImages/ID.jpg /SegmentationClassAug/ID.png.
        Raises FileNotFoundError for a missing folder, list, image or label, ValueError for a list without ids."""
        root = Path(folder)
        root = root / dataset if (root / dataset).is_dir() else root
        listing = root / "ImageSets" / "Segmentation" / f"{split}.txt"
        if not listing.is_file():
            raise FileNotFoundError(f"{listing}: not there; {folder} is no {dataset} folder in the layout of VOC")
        try:
            lines = listing.read_text("utf-8").split("\n")
        except UnicodeDecodeError as error:
            raise ValueError(f"{listing}: not a list of images") from error
        names = tuple(dict.fromkeys(Path(line.split()[0]).stem for line in lines if line.strip()))
        if not names:
            raise ValueError(f"{listing}: holds no image ids")
        found = cls(dataset, root.resolve(), split, labels, names)
        for name in names:
            found.image(name)
            found.truth(name)
        return found

    def image(self, name: str) -> Path:
        """The photograph of an id; FileNotFoundError where there is none."""
        for suffix in _IMAGE_SUFFIXES:
            path = self.root / "JPEGImages" / f"{name}{suffix}"
            if path.is_file():
                return path
        raise FileNotFoundError(f"{self.root / 'JPEGImages' / name}.jpg: not there, but in the list {self.split}")

    def truth(self, name: str) -> Path:
        """The label picture of an id; FileNotFoundError where there is none."""
        path = self.root / self.labels / f"{name}.png"
        if not path.is_file():
            raise FileNotFoundError(f"{path}: not there, but in the list {self.split}")
        return path
