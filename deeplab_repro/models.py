"""Published networks by name, ready to run: `models.deeplab_largefov(weights="train2_iter_8000.caffemodel")`."""

from __future__ import annotations

import os
from collections.abc import Sequence

from deeplab_repro import zoo
from deeplab_repro.network import CaffeNet
from prototxt_import.weights import attach

__all__ = ["deeplab_largefov"]


def deeplab_largefov(
    weights: str | os.PathLike[str] | None = None,
    num_classes: int = 21,
    width: float = 1.0,
    channels: Sequence[int] = zoo.vgg16.STAGE_CHANNELS,
    fc_channels: int = zoo.vgg16.FC_CHANNELS,
    size: tuple[int, int] = (321, 321),
    batch: int = 1,
    phase: str = "TEST",
    classifier: str = "fc8_voc12",
    dialect: str = "v1",
) -> CaffeNet:
    """DeepLab-LargeFOV, 20,505,429 parameters at full width; arguments as for zoo.largefov_spec.

    weights: a .caffemodel, matched by layer name; layers it lacks, and all layers without it, are drawn from their
    fillers. Raises CaffeFormatError, a ValueError, for weights that do not fit."""
    spec = zoo.largefov_spec(num_classes, width, channels, fc_channels, size, batch, phase, classifier, dialect)
    return CaffeNet(spec if weights is None else attach(spec, weights))
