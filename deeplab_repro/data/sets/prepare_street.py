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
    """leftImg8bit with gtFine: label ids become train ids 0..18, everything not evaluated 255.

    Raises ValueError for a folder without images of train or val."""
    entries, notes = [], []
    for split, expected in CITYSCAPES_COUNTS.items():
        if not (folder / "leftImg8bit" / split).is_dir():
            continue
        found = open_dataset(folder, split)
        entries += [
            SourceImage(one.name, one.image, None if one.label is None else _truth(found, one), (split,))
            for one in found.samples
        ]
        notes.append(f"{split}: {len(found)} images, the released set has {expected}")
    if not entries:
        raise ValueError(f"{folder}: no leftImg8bit/train or val")
    return Source(entries, CITYSCAPES, CITYSCAPES_PALETTE, tuple(notes))


def _truth(dataset: SegmentationDataset, sample: Sample) -> Callable[[], Labels]:
    return lambda: dataset.truth(sample)


def camvid(folder: Path) -> Source:
    """CamVid as SegNet's authors give it: train/, val/, test/ and trainannot/, ...; label 11 becomes void.

    Raises ValueError for a folder without those."""
    table = table_of({i: i for i in range(len(CAMVID))}, 256)
    entries = []
    for split in ("train", "val", "test"):
        for image in sorted((folder / split).glob("*.png")):
            label = folder / f"{split}annot" / image.name
            if not label.is_file():
                raise FileNotFoundError(f"{label}: no labels of {image}")
            entries.append(SourceImage(image.stem, image, _looked_up(label, table), (split,)))
    if not entries:
        raise ValueError(f"{folder}: no CamVid (train/*.png and trainannot/*.png)")
    return Source(entries, CAMVID)


def _looked_up(label: Path, table: Labels) -> Callable[[], Labels]:
    return lambda: table[read_label_map(label)]
