"""What descriptions are made of: shapes, arrays, fillers, parameters, one layer. Nothing here imports this package."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

Shape = tuple[int, ...]
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Filler:
    """How a parameter blob is initialised: Caffe's filler types and their numbers."""

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

    share_mode "STRICT" asks sharers for equal shapes, "PERMISSIVE" only for equal counts."""

    name: str = ""
    lr_mult: float = 1.0
    decay_mult: float = 1.0
    share_mode: str = "STRICT"


@dataclass(frozen=True)
class LayerSpec:
    """One layer of a net, every value resolved.

    type: the V2 name ("Convolution", "Interp"), whatever dialect it was written in.
    options: the frozen options dataclass of that type (see prototxt_import.layers).
    params: one entry per learnable blob, Caffe's blob order.
    loss_weights: one per top; a loss layer without tops has one entry for its anonymous top.
    propagate_down: one per bottom, or empty where the file gives none.
    Two layers are equal whatever line of whatever file they come from."""

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    options: Any
    params: tuple[ParamSpec, ...] = ()
    loss_weights: tuple[float, ...] = ()
    propagate_down: tuple[bool, ...] = ()
    line: int | None = field(default=None, compare=False)
