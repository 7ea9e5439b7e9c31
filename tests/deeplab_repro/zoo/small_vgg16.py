"""A VGG-16 of a few numbers, each of which says where it stood."""

from __future__ import annotations

import numpy as np

WIDTH = 1 / 32


CHANNELS = (2, 4, 8, 16, 16)


def vgg16(fc=128, classes=10):
    """VGG-16's blobs at reduced width, each number its own place in the blob; fully connected layers as Caffe's."""
    shapes, below = {}, 3
    for stage, (width, depth) in enumerate(zip(CHANNELS, (2, 2, 3, 3, 3), strict=True), 1):
        for i in range(1, depth + 1):
            shapes[f"conv{stage}_{i}"], below = (width, below, 3, 3), width
    shapes |= {"fc6": (fc, below * 49), "fc7": (fc, fc), "fc8": (classes, fc)}
    return {
        name: [np.arange(np.prod(shape), dtype="f4").reshape(shape), np.arange(shape[0], dtype="f4")]
        for name, shape in shapes.items()
    }
