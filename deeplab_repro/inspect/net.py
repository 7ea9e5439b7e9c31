"""What a net is made of: shapes, parameters, multiply-accumulates, receptive fields, memory. No torch."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from deeplab_repro.inspect.fields import Field, Pair, Shape, effective_rate, receptive_fields
from prototxt_import import CaffeFormatError, LayerSpec, NetSpec, read_net

_FLOAT = 4  # bytes
# A string, which may hold a #, or a comment.
_COMMENT = re.compile(r"""("(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')|#[^\n]*""")


@dataclass(frozen=True)
class LayerReport:
    """One layer: tops' shapes, its parameter blobs' shapes and count, its multiply-accumulates, its top's field.

    rate: input pixels between taps of a convolution (see effective_rate)."""

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    shapes: tuple[Shape, ...]
    params: tuple[Shape, ...]
    parameters: int
    macs: int
    field: Field | None
    rate: Pair | None


@dataclass(frozen=True)
class Variable:
    """A ${NAME} of a prototxt: the lines it stands in, and its value where one was given."""

    name: str
    lines: tuple[int, ...]
    value: str | None = None


@dataclass(frozen=True)
class NetReport:
    """A net as `deeplab inspect` shows it; parameters shared by name count once in the totals.

    evidence: what in the file tells its dialect; notes: what was taken where a text could mean several things. Bytes
    are of float32 blobs; activation_peak is what one forward pass needs at most at a time when each blob goes once
    nobody reads it again, work space of layers not counted."""

    source: str
    name: str
    dialect: str
    evidence: str
    notes: tuple[str, ...]
    phase: str
    variables: tuple[Variable, ...]
    inputs: dict[str, Shape]
    outputs: tuple[str, ...]
    layers: tuple[LayerReport, ...]
    parameters: int
    macs: int
    field: Field | None
    parameter_bytes: int
    activation_bytes: int
    activation_peak: int


def inspect_net(spec: NetSpec) -> NetReport:
    """Everything about a net that follows from its description alone; sizes for the input shapes it states."""
    fields = receptive_fields(spec)
    layers = tuple(
        LayerReport(
            layer.name,
            layer.type,
            layer.bottoms,
            layer.tops,
            tuple(spec.blobs.get(each, ()) for each in layer.tops),
            tuple(params := spec.param_shapes.get(layer.name, ())),
            sum(map(math.prod, params)),
            multiply_accumulates(layer, spec),
            fields.get(layer.tops[0]) if layer.tops else None,
            effective_rate(layer, fields),
        )
        for layer in spec.layers
    )
    parameters = parameter_count(spec)
    total, peak = activation_bytes(spec)
    return NetReport(
        source=str(spec.source),
        name=spec.name,
        dialect=spec.dialect,
        evidence=spec.evidence,
        notes=spec.notes,
        phase=spec.phase,
        variables=tuple(replace(each, value=_value(each.name, spec)) for each in found_variables(spec.source)),
        inputs=dict(spec.inputs),
        outputs=spec.outputs,
        layers=layers,
        parameters=parameters,
        macs=sum(layer.macs for layer in layers),
        field=max((layer.field for layer in layers if layer.field), key=lambda field: field.size, default=None),
        parameter_bytes=_FLOAT * parameters,
        activation_bytes=total,
        activation_peak=peak,
    )


def _placeholder(name: str) -> str:
    return f"${{{name}}}"


def _value(variable: str, spec: NetSpec) -> str | None:
    value = spec.variables.get(variable)
    return None if value == _placeholder(variable) else value


def read_template(
    path: str | os.PathLike[str], phase: str, variables: Mapping[str, str], dialect: str = "auto"
) -> NetSpec:
    """read_net for looking only: placeholders without a value stay as they are where the net can be read so.

    Raises CaffeFormatError as read_net."""
    try:
        return read_net(path, phase=phase, variables=variables, dialect=dialect)
    except CaffeFormatError:
        open_ones = {each.name: _placeholder(each.name) for each in found_variables(path) if each.name not in variables}
        if not open_ones:
            raise
        try:
            spec = read_net(path, phase=phase, variables={**open_ones, **variables}, dialect=dialect)
        except CaffeFormatError:
            spec = None
        if spec is None:
            raise
    return spec


def found_variables(source: str | os.PathLike[str]) -> tuple[Variable, ...]:
    """The ${NAME} placeholders outside a prototxt's comments, in order of appearance; none where there is no text."""
    try:
        text = Path(source).read_text("utf-8")
    except (OSError, ValueError):
        return ()
    lines: dict[str, list[int]] = {}
    bare = _COMMENT.sub(lambda match: match[1] or "", text)
    for number, line in enumerate(bare.split("\n"), 1):
        for name in re.findall(r"\$\{(\w+)\}", line):
            lines.setdefault(name, []).append(number)
    return tuple(Variable(name, tuple(dict.fromkeys(places))) for name, places in lines.items())


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
    bottoms, tops = ([spec.blobs.get(name) for name in names] for names in (layer.bottoms, layer.tops))
    # A shape that only data can tell leaves the count open.
    if not tops or None in bottoms or None in tops:
        return 0
    return layer.options.multiply_accumulates(bottoms, tops)


def activation_bytes(spec: NetSpec) -> tuple[int, int]:
    """Bytes of all blobs together, and at most at a time when each goes once nobody reads it again.

    A layer's bottoms and tops are there together, an in-place layer's are one; the outputs stay to the end."""
    size = {name: _FLOAT * math.prod(shape) for name, shape in spec.blobs.items()}
    last_use = {name: number for number, layer in enumerate(spec.layers) for name in (*layer.bottoms, *layer.tops)}
    live = set(spec.inputs)
    peak = sum(size.get(name, 0) for name in live)
    for number, layer in enumerate(spec.layers):
        live.update(layer.tops)
        peak = max(peak, sum(size.get(name, 0) for name in live))
        live = {name for name in live if last_use.get(name, -1) > number or name in spec.outputs}
    return sum(size.values()), peak
