"""Class names, colours and label numbers of the data sets the papers used."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

VOC = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip

# PASCAL-Context's 59 classes in the order of its 59_labels.txt; the 60-class form puts background in front.
CONTEXT_59 = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "table", "dog", "horse",
    "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor", "bag", "bed", "bench", "book",
    "building", "cabinet", "ceiling", "cloth", "computer", "cup", "door", "fence", "floor", "flower", "food", "grass",
    "ground", "keyboard", "light", "mountain", "mouse", "curtain", "platform", "sign", "plate", "road", "rock",
    "shelves", "sidewalk", "sky", "snow", "bedclothes", "track", "tree", "truck", "wall", "water", "window", "wood",
)  # fmt: skip

PERSON_PART = ("background", "head", "torso", "upper arms", "lower arms", "upper legs", "lower legs")

# Which of PASCAL-Part's names of a person's parts go into which class; hands with lower arms, feet with lower legs.
PERSON_PARTS: dict[str, int] = {
    **dict.fromkeys(("head", "leye", "reye", "lear", "rear", "lebrow", "rebrow", "nose", "mouth", "hair"), 1),
    **dict.fromkeys(("torso", "neck"), 2),
    **dict.fromkeys(("luarm", "ruarm"), 3),
    **dict.fromkeys(("llarm", "rlarm", "lhand", "rhand"), 4),
    **dict.fromkeys(("luleg", "ruleg"), 5),
    **dict.fromkeys(("llleg", "rlleg", "lfoot", "rfoot"), 6),
}

# Name, label id, colour of Cityscapes' 19 evaluated classes in the order of their train ids.
_CITYSCAPES = (
    ("road", 7, (128, 64, 128)), ("sidewalk", 8, (244, 35, 232)), ("building", 11, (70, 70, 70)),
    ("wall", 12, (102, 102, 156)), ("fence", 13, (190, 153, 153)), ("pole", 17, (153, 153, 153)),
    ("traffic light", 19, (250, 170, 30)), ("traffic sign", 20, (220, 220, 0)), ("vegetation", 21, (107, 142, 35)),
    ("terrain", 22, (152, 251, 152)), ("sky", 23, (70, 130, 180)), ("person", 24, (220, 20, 60)),
    ("rider", 25, (255, 0, 0)), ("car", 26, (0, 0, 142)), ("truck", 27, (0, 0, 70)), ("bus", 28, (0, 60, 100)),
    ("train", 31, (0, 80, 100)), ("motorcycle", 32, (0, 0, 230)), ("bicycle", 33, (119, 11, 32)),
)  # fmt: skip
CITYSCAPES = tuple(name for name, _, _ in _CITYSCAPES)
CITYSCAPES_IDS = tuple(label for _, label, _ in _CITYSCAPES)
CITYSCAPES_PALETTE = tuple(colour for _, _, colour in _CITYSCAPES)

CAMVID = (
    "Sky",
    "Building",
    "Pole",
    "Road",
    "Pavement",
    "Tree",
    "SignSymbol",
    "Fence",
    "Car",
    "Pedestrian",
    "Bicyclist",
)

# COCO's category ids of VOC's twenty object classes, by VOC label.
COCO_OF_VOC = {
    1: 5, 2: 2, 3: 16, 4: 9, 5: 44, 6: 6, 7: 3, 8: 17, 9: 62, 10: 21, 11: 67, 12: 18, 13: 19, 14: 4, 15: 1, 16: 64,
    17: 20, 18: 63, 19: 7, 20: 72,
}  # fmt: skip


def cityscapes_train_ids() -> NDArray[np.uint8]:
    """Cityscapes' train id of every label id.

    Returns:
        uint8 [256]; what is not evaluated becomes 255.
    """
    table = np.full(256, 255, np.uint8)
    table[list(CITYSCAPES_IDS)] = np.arange(len(CITYSCAPES_IDS))
    return table


def cityscapes_label_ids() -> NDArray[np.uint8]:
    """Cityscapes' label id of every train id.

    Returns:
        uint8 [256]; others become 0 (unlabelled).
    """
    table = np.zeros(256, np.uint8)
    table[: len(CITYSCAPES_IDS)] = CITYSCAPES_IDS
    return table
