"""Label maps as benchmarks want them handed in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from deeplab_repro.data.sets.datasets import Sample, SegmentationDataset
from deeplab_repro.files.images import write_image
from deeplab_repro.files.palette import save_label_png

LAYOUTS = ("plain", "voc", "cityscapes")


class LabelFiles:
    """Where each image's labels [H, W] go, and in what form.

    plain: ID.png with the set's palette, numbered as the evaluation counts. voc: the development kit's
    results/VOC2012/Segmentation/comp6_SPLIT_cls/ID.png. cityscapes: CITY_..._labelIds.png, grey, label ids.

    Args:
        folder: The folder, made where it is missing.
        dataset: The set that the images are of.
        layout: One of LAYOUTS.

    Raises:
        ValueError: The layout is another, or cityscapes with a set that has no label ids.
        OSError: The folder cannot be made.
    """

    def __init__(self, folder: Path, dataset: SegmentationDataset, layout: str = "plain") -> None:
        if layout not in LAYOUTS:
            raise ValueError(f"layout {layout!r}: must be one of {', '.join(LAYOUTS)}")
        if layout == "cityscapes" and dataset.to_file is None:
            raise ValueError("layout cityscapes: needs a data set of Cityscapes' classes")
        if layout == "voc":
            folder = folder / "results" / "VOC2012" / "Segmentation" / f"comp6_{dataset.split}_cls"
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._palette = dataset.palette
        self._numbers = dataset.to_file if layout == "cityscapes" else None

    def file(self, sample: Sample) -> Path:
        """The file of an image's labels."""
        return self.folder / f"{sample.name}{'.png' if self._numbers is None else '_labelIds.png'}"

    def write(self, sample: Sample, labels: NDArray[Any]) -> None:
        """Write an image's labels."""
        if self._numbers is None:
            save_label_png(labels, self.file(sample), self._palette)
        else:
            write_image(self._numbers[labels], self.file(sample))
