"""Small labelled sets of pictures, in VOC's layout."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from deeplab_repro.files.palette import save_label_png


def write_set(root: Path, splits: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]], **facts: object) -> Path:
    """Write pictures and label maps by name, by split; facts are those of classes.json."""
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    for split, pairs in splits.items():
        for name, (image, labels) in pairs.items():
            Image.fromarray(image).save(root / "JPEGImages" / f"{name}.jpg")
            save_label_png(labels, root / "SegmentationClass" / f"{name}.png")
        (root / "ImageSets/Segmentation" / f"{split}.txt").write_text("".join(f"{name}\n" for name in pairs))
    (root / "classes.json").write_text(json.dumps(facts))
    return root
