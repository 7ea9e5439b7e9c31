"""Street scenes: Cityscapes and CamVid."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from deeplab_repro.data.sets.class_tables import CAMVID, CITYSCAPES, CITYSCAPES_PALETTE
from deeplab_repro.data.sets.datasets import Sample, SegmentationDataset, open_dataset
from deeplab_repro.data.sets.prepare import Labels, Source, SourceImage, table_of
from deeplab_repro.files.images import read_label_map

CITYSCAPES_COUNTS = {"train": 2975, "val": 500, "test": 1525}


def cityscapes(folder: Path) -> Source:
    """Read Cityscapes: label ids become train ids 0..18, everything not evaluated 255.

    Args:
        folder: With leftImg8bit and gtFine.

    Returns:
        The data set.

    Raises:
        ValueError: The folder has no images of train or val.
    """
    images, notes = [], []
    for split, expected in CITYSCAPES_COUNTS.items():
        if not (folder / "leftImg8bit" / split).is_dir():
            continue
        dataset = open_dataset(folder, split)
        images += [
            SourceImage(sample.name, sample.image, _truth(dataset, sample) if sample.label else None, (split,))
            for sample in dataset.samples
        ]
        notes.append(f"{split}: {len(dataset)} images, the released set has {expected}")
    if not images:
        raise ValueError(f"{folder}: no leftImg8bit/train or val")
    return Source(images, CITYSCAPES, CITYSCAPES_PALETTE, tuple(notes))


def _truth(dataset: SegmentationDataset, sample: Sample) -> Callable[[], Labels]:
    return lambda: dataset.truth(sample)


def camvid(folder: Path) -> Source:
    """Read CamVid as SegNet's authors give it; label 11 becomes void.

    Args:
        folder: With train/, val/, test/ and trainannot/, ...

    Returns:
        The data set.

    Raises:
        ValueError: The folder has none of those.
        FileNotFoundError: An image has no labels.
    """
    table = table_of({i: i for i in range(len(CAMVID))}, 256)
    images = []
    for split in ("train", "val", "test"):
        for image in sorted((folder / split).glob("*.png")):
            label = folder / f"{split}annot" / image.name
            if not label.is_file():
                raise FileNotFoundError(f"{label}: no labels of {image}")
            images.append(SourceImage(image.stem, image, _looked_up(label, table), (split,)))
    if not images:
        raise ValueError(f"{folder}: no CamVid (train/*.png and trainannot/*.png)")
    return Source(images, CAMVID)


def _looked_up(label: Path, table: Labels) -> Callable[[], Labels]:
    return lambda: table[read_label_map(label)]
