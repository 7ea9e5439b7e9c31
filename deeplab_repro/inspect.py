"""What a net or a weight file is made of: shapes, parameters, multiply-accumulates, receptive fields. No torch."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from prototxt_import import LayerSpec, NetSpec, read_weights

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Field:
    """What one element of a blob sees of the input, in input pixels, (vertical, horizontal).

    first, last: the input rows and columns that element 0 reaches (outside the image where there is padding);
    stride: the way from one element to the next."""

    first: tuple[float, float]
    last: tuple[float, float]
    stride: tuple[float, float]

    @property
    def size(self) -> tuple[float, float]:
        """Extent of the receptive field."""
        return self.last[0] - self.first[0] + 1, self.last[1] - self.first[1] + 1

    @property
    def offset(self) -> tuple[float, float]:
        """Centre of element 0's field."""
        return (self.first[0] + self.last[0]) / 2, (self.first[1] + self.last[1]) / 2

    def moved(self, axis_facts: list[tuple[float, float, float]]) -> Field:
        """The field after a step that reaches from `low` to `high` elements and advances by `step`, per axis."""
        first, last, stride = [], [], []
        for axis, (low, high, step) in enumerate(axis_facts):
            first.append(self.first[axis] + low * self.stride[axis])
            last.append(self.last[axis] + high * self.stride[axis])
            stride.append(self.stride[axis] * step)
        return Field((first[0], first[1]), (last[0], last[1]), (stride[0], stride[1]))


@dataclass(frozen=True)
class LayerReport:
    """One layer: tops' shapes, its parameter blobs' shapes and count, its multiply-accumulates, its top's field."""

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    shapes: tuple[Shape, ...]
    params: tuple[Shape, ...]
    parameters: int
    macs: int
    field: Field | None


@dataclass(frozen=True)
class NetReport:
    """A net as `deeplab inspect` shows it; parameters shared by name count once in the total."""

    source: str
    name: str
    dialect: str
    phase: str
    variables: tuple[str, ...]
    inputs: dict[str, Shape]
    outputs: tuple[str, ...]
    layers: tuple[LayerReport, ...]
    parameters: int
    macs: int
    field: Field | None


@dataclass(frozen=True)
class WeightsReport:
    """A weight file: shapes of each layer's blobs."""

    source: str
    layers: dict[str, tuple[Shape, ...]]
    parameters: int
    size: int


def inspect_net(spec: NetSpec) -> NetReport:
    """Everything about a net that follows from its description alone; sizes for the input shapes it states."""
    fields = receptive_fields(spec)
    layers = []
    for layer in spec.layers:
        params = spec.param_shapes.get(layer.name, ())
        top = layer.tops[0] if layer.tops else None
        layers.append(
            LayerReport(
                layer.name,
                layer.type,
                layer.bottoms,
                layer.tops,
                tuple(spec.blobs.get(each, ()) for each in layer.tops),
                tuple(params),
                sum(map(math.prod, params)),
                multiply_accumulates(layer, spec),
                fields.get(top) if top else None,
            )
        )
    widest = [fields[top] for layer in spec.layers for top in layer.tops if fields.get(top)]
    return NetReport(
        str(spec.source),
        spec.name,
        spec.dialect,
        spec.phase,
        found_variables(spec.source),
        dict(spec.inputs),
        spec.outputs,
        tuple(layers),
        parameter_count(spec),
        sum(layer.macs for layer in layers),
        max(widest, key=lambda field: field.size, default=None),
    )


def inspect_weights(path: str | os.PathLike[str]) -> WeightsReport:
    """Layers and blobs of a weight file. Raises CaffeFormatError or OSError when it cannot be read."""
    layers = {name: tuple(np.shape(blob) for blob in blobs) for name, blobs in read_weights(path).items()}
    count = sum(math.prod(shape) for blobs in layers.values() for shape in blobs)
    return WeightsReport(str(path), layers, count, Path(path).stat().st_size)


def found_variables(source: str | os.PathLike[str]) -> tuple[str, ...]:
    """Names of the ${NAME} placeholders in a prototxt, in order of appearance; none where there is no such file."""
    path = Path(source)
    if not path.is_file() or path.suffix != ".prototxt":
        return ()
    return tuple(dict.fromkeys(re.findall(r"\$\{(\w+)\}", path.read_text(errors="replace"))))


def parameter_count(spec: NetSpec) -> int:
    """Learnable numbers of a net; blobs shared by name count once."""
    seen: set[str] = set()
    count = 0
    for layer in spec.layers:
        for index, shape in enumerate(spec.param_shapes.get(layer.name, ())):
            shared = layer.params[index].name if index < len(layer.params) else ""
            if shared not in seen:
                count += math.prod(shape)
            if shared:
                seen.add(shared)
    return count


def multiply_accumulates(layer: LayerSpec, spec: NetSpec) -> int:
    """Multiply-accumulates of one forward pass of a layer with a matrix product; 0 for all others."""
    shapes = spec.param_shapes.get(layer.name, ())
    if not shapes or not layer.tops:
        return 0
    weight, top = shapes[0], spec.blobs.get(layer.tops[0], ())
    if layer.type == "Convolution" and len(top) == 4:
        return top[0] * math.prod(top[2:]) * math.prod(weight)
    if layer.type == "Deconvolution" and len(spec.blobs.get(layer.bottoms[0], ())) == 4:
        bottom = spec.blobs[layer.bottoms[0]]
        return bottom[0] * math.prod(bottom[2:]) * math.prod(weight)
    if layer.type == "InnerProduct" and top:
        return math.prod(top[: layer.options.axis]) * math.prod(weight)
    return 0


def receptive_fields(spec: NetSpec) -> dict[str, Field | None]:
    """Per blob, what one element sees of the net's inputs, at the widest branch; None: all of it, or not spatial.

    Linear interpolation is taken to read two elements on each axis."""
    fields: dict[str, Field | None] = {}
    for name, shape in _sources(spec):
        fields[name] = Field((0, 0), (0, 0), (1, 1)) if len(shape) == 4 else None
    for layer in spec.layers:
        below = [fields.get(bottom) for bottom in layer.bottoms]
        if not layer.bottoms:
            continue
        known = [field for field in below if field]
        above = _step(layer, spec, _union(known)) if known and (len(known) == len(below)) else None
        for top in layer.tops:
            fields[top] = above if len(spec.blobs.get(top, ())) == 4 else None
    return fields


def _sources(spec: NetSpec) -> Iterator[tuple[str, Shape]]:
    yield from spec.inputs.items()
    for layer in spec.layers:
        if not layer.bottoms:
            yield from ((top, spec.blobs.get(top, ())) for top in layer.tops)


def _union(fields: list[Field]) -> Field:
    first, last, stride = zip(*((each.first, each.last, each.stride) for each in fields), strict=True)
    return Field(
        (min(f[0] for f in first), min(f[1] for f in first)),
        (max(f[0] for f in last), max(f[1] for f in last)),
        (max(s[0] for s in stride), max(s[1] for s in stride)),
    )


def _step(layer: LayerSpec, spec: NetSpec, below: Field) -> Field | None:
    """The field above a layer, from the one below it."""
    options = layer.options
    if layer.type == "Convolution" or (layer.type == "Pooling" and not options.global_pooling):
        dilation = getattr(options, "dilation", (1, 1))
        return below.moved(
            [
                (-pad, rate * (kernel - 1) - pad, stride)
                for kernel, stride, pad, rate in zip(options.kernel, options.stride, options.pad, dilation, strict=True)
            ]
        )
    if layer.type == "Deconvolution":
        reach = [rate * (kernel - 1) for kernel, rate in zip(options.kernel, options.dilation, strict=True)]
        return below.moved(
            [
                (math.ceil((pad - tap) / stride), pad // stride, 1 / stride)
                for tap, stride, pad in zip(reach, options.stride, options.pad, strict=True)
            ]
        )
    if layer.type == "Interp":
        return below.moved([_interp_axis(layer, spec, axis) for axis in (2, 3)])
    if layer.type == "Padding":
        return below.moved([(-options.pad_beg, -options.pad_beg, 1)] * 2)
    if layer.type in ("Pooling", "InnerProduct", "Flatten", "Reshape", "Reduction", "SPP", "ArgMax"):
        per_pixel = layer.type == "ArgMax" and len(spec.blobs.get(layer.tops[0], ())) == 4
        return below if per_pixel else None
    return below


def _interp_axis(layer: LayerSpec, spec: NetSpec, axis: int) -> tuple[float, float, float]:
    bottom, top = (spec.blobs.get(name, (1, 1, 1, 1)) for name in (layer.bottoms[0], layer.tops[0]))
    begin, end = layer.options.pad_beg, layer.options.pad_end
    extent = bottom[axis] + begin + end
    if extent == top[axis]:
        return -begin, -begin, 1
    step = (extent - 1) / (top[axis] - 1) if top[axis] > 1 else 1.0
    exact = float(step).is_integer()
    return -begin, -begin + (0 if exact else 1), step
