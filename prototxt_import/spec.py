"""Frozen, typed description of a Caffe net: what every reader produces and every consumer takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
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


def _frozen(items: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(items))


@dataclass(frozen=True)
class NetSpec:
    """A net in one state (phase, level, stages): filtered layers, inferred shapes and, when read, weights.

    dialect: "v0", "v1", "v2", "x2" or "bvlc"; evidence: what in the file told so, empty for nets built in code.
    inputs: shape of every blob fed from outside by legacy `input` fields or Input layers (those are no layers).
    layers: in file order; no Split layers are inserted.
    blobs: shape of every blob, the last writer's for in-place chains.
    param_shapes: per layer, the shapes of its learnable blobs.
    outputs: the blobs nobody consumes, in the order in which they appear.
    weights: arrays by layer name, read-only views of the mapped file where its layout allows.
    unused_weights: layers of the weight file with blobs that this net lacks; missing_weights: the reverse."""

    name: str
    inputs: Mapping[str, Shape]
    layers: tuple[LayerSpec, ...]
    phase: str = "TEST"
    level: int = 0
    stages: tuple[str, ...] = ()
    dialect: str = field(default="bvlc", compare=False)
    evidence: str = field(default="", compare=False)
    force_backward: bool = False
    blobs: Mapping[str, Shape] = field(default_factory=dict)
    param_shapes: Mapping[str, tuple[Shape, ...]] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    weights: Mapping[str, list[Array]] = field(default_factory=dict, compare=False)
    unused_weights: tuple[str, ...] = field(default=(), compare=False)
    missing_weights: tuple[str, ...] = field(default=(), compare=False)
    source: str = field(default="", compare=False)
    variables: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        for name in ("inputs", "blobs", "param_shapes", "weights", "variables"):
            object.__setattr__(self, name, _frozen(getattr(self, name)))

    def __reduce__(self) -> tuple[Any, ...]:
        # A mapping proxy neither pickles nor deep-copies; the constructor makes new ones.
        values = (getattr(self, one.name) for one in fields(self))
        return type(self), tuple(dict(value) if isinstance(value, Mapping) else value for value in values)

    def __deepcopy__(self, memo: object) -> NetSpec:
        return self

    def with_inputs(self, shapes: Mapping[str, Shape]) -> NetSpec:
        """The same net for other input sizes: all shapes inferred again.

        shapes: by input blob, or by a data layer's top (which then has that shape); inputs left out keep theirs.
        Raises CaffeFormatError naming the layer that does not fit, or an input the net does not have."""
        from prototxt_import.build import reshape

        return reshape(self, shapes)

    def layer(self, name: str) -> LayerSpec:
        """The layer called `name`; KeyError where there is none."""
        for one in self.layers:
            if one.name == name:
                return one
        raise KeyError(name)
