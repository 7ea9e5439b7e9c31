"""Data sets as released, in miniature."""

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from deeplab_repro.data.sets.datasets import open_dataset
from deeplab_repro.files.palette import save_label_png

RANDOM = np.random.default_rng(8)


SIZE = (12, 20)


def picture(path, size=SIZE):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RANDOM.integers(0, 256, (*size, 3), np.uint8)).save(path)


def ids(path, names):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in names))


def truth(folder, split):
    dataset = open_dataset(folder, split)
    return {sample.name: dataset.truth(sample) for sample in dataset.samples}


@pytest.fixture
def voc_with_sbd(tmp_path):
    """VOC2012 with train a, b and val c, and SBD with b, c and d."""
    root, sbd = tmp_path / "VOC2012", tmp_path / "sbd"
    labels = {name: RANDOM.integers(0, 21, SIZE, np.uint8) for name in "abcd"}
    (root / "SegmentationClass").mkdir(parents=True)
    (sbd / "cls").mkdir(parents=True)
    for name, values in labels.items():
        picture(root / "JPEGImages" / f"{name}.jpg")
        if name != "d":
            save_label_png(values, root / "SegmentationClass" / f"{name}.png")
        if name != "a":
            # Another map than VOC's own for the images that have both.
            savemat(
                sbd / "cls" / f"{name}.mat",
                {"GTcls": {"Segmentation": values if name == "d" else np.zeros_like(values)}},
            )
    ids(root / "ImageSets/Segmentation/train.txt", "ab")
    ids(root / "ImageSets/Segmentation/val.txt", "c")
    return root, sbd, labels
