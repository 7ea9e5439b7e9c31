"""Label maps as benchmarks want them handed in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from deeplab_repro.data.datasets import Sample, SegmentationDataset
from deeplab_repro.images import write_image
from deeplab_repro.palette import save_label_png

LAYOUTS = ("plain", "voc", "cityscapes")


def label_writer(folder: Path, dataset: SegmentationDataset, layout: str) -> Callable[[Sample, NDArray[Any]], None]:
    """A function that writes one image's labels [H, W].

    plain: ID.png with the set's palette, numbered as the evaluation counts. voc: the development kit's
    results/VOC2012/Segmentation/comp6_SPLIT_cls/ID.png. cityscapes: CITY_..._labelIds.png, grey, label ids.
    Raises ValueError for another layout, or cityscapes with a set that has no label ids; OSError where the folder
    cannot be made."""
    if layout not in LAYOUTS:
        raise ValueError(f"layout {layout!r}: must be one of {', '.join(LAYOUTS)}")
    if layout == "cityscapes":
        if dataset.to_file is None:
            raise ValueError("layout cityscapes: needs a data set of Cityscapes' classes")
        folder.mkdir(parents=True, exist_ok=True)
        numbers = dataset.to_file
        return lambda sample, labels: write_image(numbers[labels], folder / f"{sample.name}_labelIds.png")
    if layout == "voc":
        folder = folder / "results" / "VOC2012" / "Segmentation" / f"comp6_{dataset.split}_cls"
    folder.mkdir(parents=True, exist_ok=True)
    return lambda sample, labels: save_label_png(labels, folder / f"{sample.name}.png", dataset.palette)
