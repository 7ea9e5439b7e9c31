"""A small data set in VOC's layout, and weights that always answer the same class."""

from types import SimpleNamespace

import numpy as np
import pytest

from deeplab_repro import zoo
from deeplab_repro.files.images import write_image
from deeplab_repro.files.palette import save_label_png
from prototxt_import import write_weights

ANSWER = 15
NAMES = ("2007_000001", "2007_000002", "2007_000003")


@pytest.fixture
def voc(tmp_path):
    """VOCdevkit/VOC2012 with three pictures, in which class 15 has a rectangle with a void border."""
    root = tmp_path / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    random = np.random.default_rng(4)
    truths = {}
    for number, name in enumerate(NAMES):
        height, width = 30 + 7 * number, 41
        truth = np.zeros((height, width), np.uint8)
        truth[5:20, 4:30] = 255
        truth[6:19, 5:29] = ANSWER
        truths[name] = truth
        write_image(random.integers(0, 256, (height, width, 3), np.uint8), root / "JPEGImages" / f"{name}.jpg")
        save_label_png(truth, root / "SegmentationClass" / f"{name}.png")
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("\n".join(NAMES) + "\n")
    return SimpleNamespace(folder=root.parent, root=root, truths=truths)


@pytest.fixture
def weights_folder(tmp_path):
    """Weights of narrow DeepLab-LargeFOV and DeepLab nets under the catalog's names; their answer is always ANSWER."""
    folder = tmp_path / "weights"
    folder.mkdir()
    for name, model in (("v1_largefov_train", "deeplab_largefov"), ("v1_deeplab_train", "deeplab")):
        spec = zoo.spec(model, width=1 / 64)
        weights = {
            layer: [np.zeros(shape, np.float32) for shape in shapes]
            for layer, shapes in spec.param_shapes.items()
            if shapes
        }
        weights["fc8_voc12"][1][ANSWER] = 9
        write_weights(weights, spec, folder / f"{name}.caffemodel", "v1")
    return folder
