"""Published networks by name, ready to run: `models.deeplab_largefov(weights="train2_iter_8000.caffemodel")`.

One function for each name of zoo.names(), all with the arguments of `build`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch

from deeplab_repro import zoo
from deeplab_repro.network import CaffeNet
from prototxt_import.weights import attach

__all__ = list(zoo.names())


def build(
    name: str,
    weights: str | os.PathLike[str] | None = None,
    num_classes: int | None = None,
    dataset: str = "voc12",
    phase: str = "TEST",
    **facts: Any,
) -> CaffeNet:
    """The zoo's variant `name` as a net.

    weights: a .caffemodel or .caffemodel.h5, matched by layer name; layers it lacks, and all layers without it, are
    drawn from their fillers. num_classes, dataset, phase, facts: as zoo.spec takes them.
    Statistics that no weights bring are mean 0 and variance 1; Caffe's fillers would make the variance 0.
    Raises ValueError for unknown names and facts, CaffeFormatError, a ValueError, for weights that do not fit."""
    spec = zoo.spec(name, num_classes, dataset, phase, **facts)
    if weights is not None:
        spec = attach(spec, weights)
    net = CaffeNet(spec)
    for layer in spec.layers:
        if layer.type == "BatchNorm" and layer.name not in spec.weights:
            _, variance, factor = net.params[layer.name]
            with torch.no_grad():
                variance.fill_(1)
                factor.fill_(1)
    return net


def _entry(name: str) -> Callable[..., CaffeNet]:
    row = zoo.variant(name)

    def entry(
        weights: str | os.PathLike[str] | None = None,
        num_classes: int | None = None,
        dataset: str = "voc12",
        phase: str = "TEST",
        **facts: Any,
    ) -> CaffeNet:
        return build(name, weights, num_classes, dataset, phase, **facts)

    entry.__name__ = entry.__qualname__ = name
    count = f", {row.parameters:,} parameters with 21 classes" if row.parameters else ""
    entry.__doc__ = f"{row.title}{count}; arguments as for `build`."
    return entry


globals().update({name: _entry(name) for name in __all__})
