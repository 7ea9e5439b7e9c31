"""Published networks by name, ready to run: `models.deeplab_largefov(weights="train2_iter_8000.caffemodel")`.

One function for each name of zoo.names(), all with the arguments of `build`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch

from deeplab_repro import zoo
from deeplab_repro.net.network import CaffeNet
from deeplab_repro.zoo.ports import attach_weights
from deeplab_repro.zoo.transplant import initialise
from prototxt_import import NetSpec

__all__ = list(zoo.names())


def build(
    name: str,
    weights: str | os.PathLike[str] | None = None,
    num_classes: int | None = None,
    dataset: str = "voc12",
    phase: str = "TEST",
    init: str | os.PathLike[str] | None = None,
    **facts: Any,
) -> CaffeNet:
    """The zoo's variant of a name as a net.

    Args:
        name: One of `zoo.names`.
        weights: A .caffemodel or .caffemodel.h5, matched by layer name, or a .pth of a port (see ports); layers it
            lacks, and all layers without it, are drawn from their fillers.
        num_classes: As `zoo.spec` takes it.
        dataset: As `zoo.spec` takes it.
        phase: As `zoo.spec` takes it.
        init: A model to begin training with instead, such as VGG-16's, of which transplant takes what fits.
        facts: As `zoo.spec` takes them.

    Returns:
        The net.

    Raises:
        ValueError: A name or fact is unknown, or `weights` and `init` are both given.
        CaffeFormatError: The weights do not fit.

    Example:
        >>> import torch
        >>> from deeplab_repro.zoo import models
        >>> net = models.build("deeplab_largefov", width=0.05)
        >>> net(data=torch.zeros(1, 3, 33, 33))["fc8_interp"].shape
        torch.Size([1, 21, 33, 33])
    """
    spec = zoo.spec(name, num_classes, dataset, phase, **facts)
    if weights is not None and init is not None:
        raise ValueError("weights and init exclude each other: trained weights need no beginning")
    if weights is not None:
        spec = attach_weights(spec, weights)
    elif init is not None:
        spec, _ = initialise(spec, init)
    return fresh_net(spec)


def fresh_net(spec: NetSpec) -> CaffeNet:
    """The net of a spec; where it has no weights, the fillers draw, and statistics are mean 0 and variance 1.

    Caffe's fillers would make the variance 0.

    Args:
        spec: The net's description.

    Returns:
        The net.

    Example:
        >>> from deeplab_repro.zoo.models import fresh_net
        >>> from prototxt_import import layer, make_net
        >>> net = fresh_net(make_net("n", {"x": (1, 2, 4, 4)}, [layer("BatchNorm", "bn", "x", "y")]))
        >>> [blob.tolist() for blob in net.params["bn"]]
        [[0.0, 0.0], [1.0, 1.0], [1.0]]
    """
    net = CaffeNet(spec)
    for layer in spec.layers:
        if layer.name not in spec.weights:
            with torch.no_grad():
                for index, value in layer.options.neutral_blobs().items():
                    net.params[layer.name][index].fill_(value)
    return net


def _builder(name: str) -> Callable[..., CaffeNet]:
    row = zoo.variant(name)

    def build_variant(
        weights: str | os.PathLike[str] | None = None,
        num_classes: int | None = None,
        dataset: str = "voc12",
        phase: str = "TEST",
        init: str | os.PathLike[str] | None = None,
        **facts: Any,
    ) -> CaffeNet:
        return build(name, weights, num_classes, dataset, phase, init, **facts)

    build_variant.__name__ = build_variant.__qualname__ = name
    count = f", {row.parameters:,} parameters with 21 classes" if row.parameters else ""
    build_variant.__doc__ = _DOC.format(title=row.title + count, name=name)
    return build_variant


_DOC = """{title}.

Args:
    weights: As for `build`, like all that follow.
    num_classes: Outputs of the score layer.
    dataset: Ends the score layer's name.
    phase: "TEST" or "TRAIN".
    init: A model to begin training with.
    facts: As `zoo.spec` takes them.

Returns:
    The net.

Raises:
    ValueError: As for `build`.

Example:
    >>> from deeplab_repro import models
    >>> net = models.{name}(width=0.02)
    >>> list(net.inputs)
    ['data']
"""


globals().update({name: _builder(name) for name in __all__})
