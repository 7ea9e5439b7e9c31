"""What descriptions are made of: shapes, arrays, fillers, parameters, one layer. Nothing here imports this package."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

Shape = tuple[int, ...]
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Filler:
    """How a parameter blob is initialised: Caffe's filler types and their numbers.

    Args:
        type: "constant", "uniform", "gaussian", "positive_unitball", "xavier", "msra" or "bilinear".
        value: Of "constant".
        min: Least value of "uniform".
        max: Largest value of "uniform".
        mean: Of "gaussian".
        std: Of "gaussian".
        sparse: Of "gaussian": how many inputs of an output are not zero, -1 for all.
        variance_norm: What "xavier" and "msra" divide by: "FAN_IN", "FAN_OUT" or "AVERAGE".

    Source:
        Caffe's FillerParameter (caffe.proto) and filler.hpp.

    Example:
        >>> from prototxt_import import Filler, layer
        >>> layer("Scale", "s", "x", "y", filler=Filler(value=0.5)).options.filler.value
        0.5
    """

    type: str = "constant"
    value: float = 0.0
    min: float = 0.0
    max: float = 1.0
    mean: float = 0.0
    std: float = 1.0
    sparse: int = -1
    variance_norm: str = "FAN_IN"


@dataclass(frozen=True)
class ParamSpec:
    """Training facts of one learnable blob; blobs of the same non-empty name are one blob.

    Args:
        name: The name that sharers have in common, "" for a blob of its own.
        lr_mult: Factor on the solver's learning rate.
        decay_mult: Factor on the solver's weight decay.
        share_mode: "STRICT" asks sharers for equal shapes, "PERMISSIVE" only for equal counts.

    Source:
        Caffe's ParamSpec (caffe.proto); blobs_lr and weight_decay of V1 layers.

    Example:
        >>> from prototxt_import import ParamSpec, layer
        >>> frozen = ParamSpec(lr_mult=0, decay_mult=0)
        >>> layer("Scale", "s", "x", "y", params=[frozen]).params[0].lr_mult
        0
    """

    name: str = ""
    lr_mult: float = 1.0
    decay_mult: float = 1.0
    share_mode: str = "STRICT"


@dataclass(frozen=True)
class LayerSpec:
    """One layer of a net, every value resolved; `layer` makes one with everything left out filled in.

    Two layers are equal whatever line of whatever file they come from.

    Args:
        name: The layer's name.
        type: The V2 name ("Convolution", "Interp"), whatever dialect it was written in.
        bottoms: Names of the blobs it reads.
        tops: Names of the blobs it makes; one that is a bottom, too, is changed in place.
        options: The frozen options dataclass of that type (see prototxt_import.layers).
        params: One entry per learnable blob, Caffe's blob order.
        loss_weights: One per top; a loss layer without tops has one entry for its anonymous top.
        propagate_down: One per bottom, or empty where the file gives none.
        phase: The layer's own, whatever the net's; empty where the file gives none.
        strict_dim: False (v1): of stored blobs only the count of numbers must fit.
        line: The line of the file it begins on, None for layers built in code.

    Source:
        Caffe's LayerParameter (caffe.proto).

    Example:
        >>> from prototxt_import import parse_net
        >>> net = parse_net('input: "x" input_dim: 1 input_dim: 2 input_dim: 4 input_dim: 4 '
        ...                 'layers { name: "r" type: RELU bottom: "x" top: "x" }')
        >>> net.layers[0].type, net.layers[0].options.negative_slope
        ('ReLU', 0.0)
    """

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    options: Any
    params: tuple[ParamSpec, ...] = ()
    loss_weights: tuple[float, ...] = ()
    propagate_down: tuple[bool, ...] = ()
    phase: str = ""
    strict_dim: bool = True
    line: int | None = field(default=None, compare=False)
