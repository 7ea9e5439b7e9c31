"""What a net is made of: shapes, parameters, multiply-accumulates, receptive fields, memory. No torch."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deeplab_repro.inspect.fields import Pair, ReceptiveField, Shape, effective_rate, receptive_fields
from prototxt_import import CaffeFormatError, LayerSpec, NetSpec, read_net

_FLOAT = 4  # bytes
# A string, which may hold a #, or a comment.
_COMMENT = re.compile(r"""("(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')|#[^\n]*""")


@dataclass(frozen=True)
class LayerReport:
    """One layer of a net.

    Args:
        name: The layer's name.
        type: Its V2 type.
        bottoms: Names of its bottoms.
        tops: Names of its tops.
        shapes: Of the tops.
        params: Shapes of its parameter blobs.
        parameters: Numbers in them.
        macs: Multiply-accumulates of a pass.
        field: The first top's receptive field, as `receptive_fields` has it.
        rate: Input pixels between taps of a convolution (see `effective_rate`).

    Example:
        >>> from deeplab_repro import inspect, zoo
        >>> report = inspect.inspect_net(zoo.spec("deeplab_largefov"))
        >>> next(layer.parameters for layer in report.layers if layer.name == "fc6")
        4719616
    """

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    shapes: tuple[Shape, ...]
    params: tuple[Shape, ...]
    parameters: int
    macs: int
    field: ReceptiveField | None
    rate: Pair | None


@dataclass(frozen=True)
class Variable:
    """A ${NAME} of a prototxt.

    Args:
        name: The name.
        lines: The lines it stands in, counted from 1.
        value: Its value where one was given.

    Example:
        >>> from deeplab_repro import inspect
        >>> inspect.Variable("NET_ID", lines=(3, 9)).value is None
        True
    """

    name: str
    lines: tuple[int, ...]
    value: str | None = None


@dataclass(frozen=True)
class NetReport:
    """A net as `deeplab inspect` shows it; parameters shared by name count once in the totals.

    Args:
        source: The file.
        name: The net's name.
        dialect: Its dialect.
        evidence: What in the file tells the dialect.
        notes: What was taken where a text could mean several things.
        phase: "TRAIN" or "TEST".
        variables: The placeholders of the file.
        inputs: Shape by input.
        outputs: The blobs nobody consumes.
        layers: A report on each layer.
        parameters: Learnable numbers.
        macs: Multiply-accumulates of a pass.
        field: The largest receptive field.
        parameter_bytes: Of float32 parameters.
        activation_bytes: Of all float32 blobs.
        activation_peak: Bytes that one forward pass needs at most at a time when each blob goes once nobody reads it
            again, work space of layers not counted.

    Example:
        >>> from deeplab_repro import inspect, zoo
        >>> inspect.inspect_net(zoo.spec("deeplab_largefov")).parameters
        20505429
    """

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
    field: ReceptiveField | None
    parameter_bytes: int
    activation_bytes: int
    activation_peak: int


def inspect_net(spec: NetSpec) -> NetReport:
    """Everything about a net that follows from its description alone; sizes are for the input shapes it states.

    Args:
        spec: The net.

    Returns:
        The report.

    Example:
        >>> from deeplab_repro import inspect
        >>> from prototxt_import import layer, make_net
        >>> conv = layer("Convolution", "c", "x", "y", num_output=2, kernel=(3, 3))
        >>> inspect.inspect_net(make_net("n", {"x": (1, 1, 5, 5)}, [conv])).macs
        162
    """
    fields = receptive_fields(spec)
    layers = tuple(
        LayerReport(
            layer.name,
            layer.type,
            layer.bottoms,
            layer.tops,
            tuple(spec.blobs.get(top, ()) for top in layer.tops),
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
        variables=tuple(
            replace(variable, value=_value(variable.name, spec)) for variable in found_variables(spec.source)
        ),
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
    path: str | os.PathLike[str],
    phase: str,
    variables: Mapping[str, str],
    dialect: str = "auto",
    level: int = 0,
    stages: Sequence[str] = (),
) -> NetSpec:
    """`read_net` for looking only: placeholders without a value stay as they are where the net can be read so.

    Args:
        path: The prototxt.
        phase: "TRAIN" or "TEST".
        variables: Values of the ${NAME}s.
        dialect: As for `prototxt_import.read_net`.

    Returns:
        The net.

    Raises:
        CaffeFormatError: As `read_net`.
    """
    try:
        return read_net(path, None, phase, variables, dialect, level, stages)
    except CaffeFormatError:
        unset = {
            variable.name: _placeholder(variable.name)
            for variable in found_variables(path)
            if variable.name not in variables
        }
        if not unset:
            raise
        try:
            spec = read_net(path, None, phase, {**unset, **variables}, dialect, level, stages)
        except CaffeFormatError:
            spec = None
        if spec is None:
            raise
    return spec


def found_variables(source: str | os.PathLike[str]) -> tuple[Variable, ...]:
    """The ${NAME} placeholders outside a prototxt's comments.

    Args:
        source: The file.

    Returns:
        The placeholders in order of appearance; none where there is no text.

    Example:
        >>> from pathlib import Path
        >>> from deeplab_repro import inspect
        >>> _ = Path("net.prototxt").write_text('name: "${NET_ID}"')
        >>> inspect.found_variables("net.prototxt")
        (Variable(name='NET_ID', lines=(1,), value=None),)
    """
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
    """Learnable numbers of a net; blobs shared by name count once.

    Args:
        spec: The net.

    Returns:
        Their number.

    Example:
        >>> from deeplab_repro import inspect, zoo
        >>> inspect.parameter_count(zoo.spec("deeplab_resnet101"))  # three scales share them
        44153980
    """
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


def weight_origins(spec: NetSpec) -> list[dict[str, Any]]:
    """The layers with learnable blobs, and where their values come from.

    Args:
        spec: The net, read with its weights.

    Returns:
        Rows of layer, type, shapes of its blobs, numbers in them, and "weights" or "filler".
    """
    return [
        {
            "layer": layer.name,
            "type": layer.type,
            "blobs": [list(shape) for shape in shapes],
            "parameters": sum(map(math.prod, shapes)),
            "from": "filler" if layer.name in spec.missing_weights else "weights",
        }
        for layer in spec.layers
        if (shapes := spec.param_shapes.get(layer.name))
    ]


def multiply_accumulates(layer: LayerSpec, spec: NetSpec) -> int:
    """Multiply-accumulates of one forward pass of a layer with a matrix product.

    Args:
        layer: The layer.
        spec: Its net.

    Returns:
        Their number, 0 for all other layers.

    Example:
        >>> from deeplab_repro import inspect
        >>> from prototxt_import import layer, make_net
        >>> net = make_net("n", {"x": (1, 3)}, [layer("InnerProduct", "fc", "x", "y", num_output=2)])
        >>> inspect.multiply_accumulates(net.layers[0], net)
        6
    """
    bottoms, tops = ([spec.blobs.get(name) for name in names] for names in (layer.bottoms, layer.tops))
    # A shape that only data can tell leaves the count open.
    if not tops or None in bottoms or None in tops:
        return 0
    return layer.options.multiply_accumulates(bottoms, tops)


def activation_bytes(spec: NetSpec) -> tuple[int, int]:
    """The memory of a net's blobs in float32.

    A layer's bottoms and tops are there together, an in-place layer's are one; the outputs stay to the end.

    Args:
        spec: The net.

    Returns:
        Bytes of all blobs together, and at most at a time when each goes once nobody reads it again.

    Example:
        >>> from deeplab_repro import inspect
        >>> from prototxt_import import layer, make_net
        >>> relus = [layer("ReLU", top, bottom, top) for bottom, top in ("xa", "ab", "bc")]
        >>> inspect.activation_bytes(make_net("n", {"x": (1, 1)}, relus))
        (16, 8)
    """
    size = {name: _FLOAT * math.prod(shape) for name, shape in spec.blobs.items()}
    last_use = {name: number for number, layer in enumerate(spec.layers) for name in (*layer.bottoms, *layer.tops)}
    live = set(spec.inputs)
    peak = sum(size.get(name, 0) for name in live)
    for number, layer in enumerate(spec.layers):
        live.update(layer.tops)
        peak = max(peak, sum(size.get(name, 0) for name in live))
        live = {name for name in live if last_use.get(name, -1) > number or name in spec.outputs}
    return sum(size.values()), peak
