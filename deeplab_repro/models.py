"""Published networks by name, ready to run: `models.deeplab_largefov(weights="train2_iter_8000.caffemodel")`."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch

from deeplab_repro import zoo
from deeplab_repro.network import CaffeNet
from prototxt_import import NetSpec
from prototxt_import.weights import attach

__all__ = ["deeplab_largefov", "deeplab_resnet101", "deeplab_vgg16_aspp"]


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
    return _net(
        zoo.largefov_spec(num_classes, width, channels, fc_channels, size, batch, phase, classifier, dialect), weights
    )


def deeplab_vgg16_aspp(
    weights: str | os.PathLike[str] | None = None,
    num_classes: int = 21,
    rates: Sequence[int] = zoo.vgg16.ASPP_L,
    width: float = 1.0,
    channels: Sequence[int] = zoo.vgg16.STAGE_CHANNELS,
    fc_channels: int = zoo.vgg16.FC_CHANNELS,
    size: tuple[int, int] = (321, 321),
    batch: int = 1,
    phase: str = "TEST",
    classifier: str = "fc8_voc12",
    dialect: str = "v2",
) -> CaffeNet:
    """DeepLab-ASPP-L on VGG-16 (-S with rates zoo.vgg16.ASPP_S); arguments as for zoo.aspp_spec, weights as above."""
    return _net(
        zoo.aspp_spec(num_classes, rates, width, channels, fc_channels, size, batch, phase, classifier, dialect),
        weights,
    )


def deeplab_resnet101(
    weights: str | os.PathLike[str] | None = None,
    num_classes: int = 21,
    width: float = 1.0,
    depths: Sequence[int] = zoo.resnet101.DEPTHS,
    head: str = "aspp",
    multi_scale: bool = True,
    size: tuple[int, int] = (321, 321),
    batch: int = 1,
    phase: str = "TEST",
    classifier: str = "fc1_voc12",
) -> CaffeNet:
    """DeepLab v2 on ResNet-101, 44,153,980 parameters; arguments as for zoo.resnet101_spec, weights as above.

    Statistics that no weights bring are mean 0 and variance 1; Caffe's fillers would make the variance 0."""
    return _net(
        zoo.resnet101_spec(num_classes, width, depths, head, multi_scale, size, batch, phase, classifier), weights
    )


def _net(spec: NetSpec, weights: str | os.PathLike[str] | None) -> CaffeNet:
    spec = spec if weights is None else attach(spec, weights)
    net = CaffeNet(spec)
    for layer in spec.layers:
        if layer.type == "BatchNorm" and layer.name not in spec.weights:
            _, variance, factor = net.params[layer.name]
            with torch.no_grad():
                variance.fill_(1)
                factor.fill_(1)
    return net
