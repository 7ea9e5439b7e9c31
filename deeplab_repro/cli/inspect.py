"""`deeplab inspect`: what is in a file, and what differs between two."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deeplab_repro.cli.options import (
    DialectOption,
    JsonOption,
    LevelOption,
    PhaseOption,
    StageOption,
    VariablesOption,
    expanded,
    parse_net_options,
    parse_phase,
)

if TYPE_CHECKING:
    from deeplab_repro.inspect import (
        Change,
        Content,
        MeanReport,
        NetReport,
        SolverReport,
        StateReport,
        WeightsReport,
    )


def inspect(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="Nets, models, solvers, means, solver states.", show_default=False),
    ],
    phase: PhaseOption = "TEST",
    variables: VariablesOption = None,
    dialect: DialectOption = "auto",
    stage: StageOption = None,
    level: LevelOption = None,
    json: JsonOption = None,
) -> None:
    """Show what is in a file of Caffe's, or what differs between two.

    Files are told apart by their contents, whatever their names: net and solver .prototxt, .caffemodel and
    .caffemodel.h5 of every dialect, mean .binaryproto, .solverstate, and this project's .safetensors.

    A net: each layer with its type, the shape of what it gives, parameters and multiply-accumulates; its receptive
    field in input pixels as size, stride and the centre of element 0's field; and its rate, the input pixels between
    two taps of its kernel (dilation times the stride so far: 96 for LargeFOV's fc6). Then the memory of parameters and
    blobs, the dialect and what tells it, and the template variables with the lines they stand in; those without
    [b]--var[/b] may stay open.

    Two files of one kind are compared: layers only one has, options and shapes field by field, the largest difference
    of weights (A and B are then the values at that place). The spelling does not count: a V1 net equals its V2
    upgrade. Exit code 0 when they are equal, 1 when they differ.

    [dim]deeplab inspect test.prototxt train2_iter_8000.caffemodel[/dim]

    [dim]deeplab inspect old.prototxt new.prototxt[/dim]
    """
    from deeplab_repro.cli.output import check_json, write_json
    from deeplab_repro.inspect import comparable, compare, read_file

    check_json(json)
    net_phase, asked = parse_phase(phase), parse_net_options(variables, dialect, stage, level)
    contents = [read_file(path, net_phase, **asked) for path in expanded(files)]
    answer: dict[str, Any] = {"files": [content.facts() for content in contents]}
    if len(contents) == 2 and comparable(*contents):
        changes = compare(*contents)
        answer |= {"equal": not changes, "differences": [_plain(asdict(change)) for change in changes]}
        if write_json(answer, json):
            _print_changes(changes, *contents)
        if changes:
            raise typer.Exit(1)
    elif write_json(answer, json):
        for content in contents:
            _PRINTERS[type(content.report).__name__](content.report)


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def _pair(values: tuple[float, float] | None) -> str:
    if values is None:
        return ""
    texts = [f"{value:.4g}" for value in values]
    return texts[0] if texts[0] == texts[1] else " x ".join(texts)


def _bytes(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB" if count >= 2**20 else f"{count / 2**10:,.1f} KiB"


def _print_net(report: NetReport) -> None:
    from deeplab_repro.cli.output import console, shape_text, table

    out = console()
    out.print(report.source or report.name, style="bold", markup=False)
    because = f" ({report.evidence})" if report.evidence else ""
    out.print(f"net {report.name or '(no name)'}, {report.phase}, dialect {report.dialect}{because}", markup=False)
    for note in report.notes:
        out.print(f"note: {note}", markup=False)
    for variable in report.variables:
        value = "no value given" if variable.value is None else f"= {variable.value}"
        lines = f"line{'s' * (len(variable.lines) > 1)} {', '.join(map(str, variable.lines))}"
        out.print(f"variable {variable.name}, {lines}: {value}", markup=False)
    for name, shape in report.inputs.items():
        out.print(f"input {name} {shape_text(shape)}", markup=False)
    rows = []
    for layer in report.layers:
        field = layer.field
        gives = (
            name if (name,) == layer.bottoms else f"{name} {shape_text(shape)}"
            for name, shape in zip(layer.tops, layer.shapes, strict=True)
        )
        rows.append(
            (
                layer.name,
                layer.type,
                ", ".join(layer.bottoms),
                ", ".join(gives),
                ", ".join(map(shape_text, layer.params)),
                f"{layer.parameters:,}" if layer.parameters else "",
                f"{layer.macs / 1e6:,.1f}" if layer.macs else "",
                _pair(layer.rate),
                _pair(field.size) if field else "",
                _pair(field.stride) if field else "",
                _pair(field.offset) if field else "",
            )
        )
    text = ("layer", "type", "from", "gives", "blobs")
    out.print(table((*text, "parameters", "M mult-acc", "rate", "field", "stride", "offset"), rows, left=text))
    out.print(f"{len(report.layers)} layers, {report.parameters:,} parameters, {report.macs / 1e9:,.3f} G mult-acc")
    out.print(
        f"memory: parameters {_bytes(report.parameter_bytes)}, blobs {_bytes(report.activation_bytes)}, "
        f"of which {_bytes(report.activation_peak)} at most at a time"
    )
    if report.field:
        out.print(f"widest receptive field {_pair(report.field.size)}")
    out.print(f"outputs {', '.join(report.outputs) or 'none'}", markup=False)


def _print_weights(report: WeightsReport) -> None:
    from deeplab_repro.cli.output import console, shape_text, table

    out = console()
    out.print(report.source, style="bold", markup=False)
    form = f"dialect {report.dialect} ({report.evidence})" if report.dialect else "HDF5"
    out.print(f"model {report.name or '(no name)'}, {form}, {', '.join(report.dtypes) or 'no blobs'}", markup=False)
    rows = [(name, ", ".join(map(shape_text, blobs))) for name, blobs in report.layers.items()]
    out.print(table(("layer", "blobs"), rows, left=("layer", "blobs")))
    if report.bad:
        out.print(f"NaN or infinite numbers in {', '.join(report.bad)}", style="bold red", markup=False)
    out.print(f"{len(report.layers)} layers, {report.parameters:,} numbers, {_bytes(report.size)}")


def _print_solver(report: SolverReport) -> None:
    from deeplab_repro.cli.output import console, table

    out = console()
    out.print(report.source, style="bold", markup=False)
    rows = [(name, _value(value)) for name, value in report.fields.items()]
    out.print(table(("field", "value"), rows, left=("field", "value"), title=f"solver {report.type}"))


def _print_mean(report: MeanReport) -> None:
    from deeplab_repro.cli.output import console, shape_text

    out = console()
    out.print(report.source, style="bold", markup=False)
    out.print(f"mean {shape_text(report.shape)}, values {report.low:.4g} .. {report.high:.4g}")
    out.print(f"mean of each channel: {', '.join(f'{value:.3f}' for value in report.channels)}")


def _print_state(report: StateReport) -> None:
    from deeplab_repro.cli.output import console, shape_text

    out = console()
    out.print(report.source, style="bold", markup=False)
    out.print(f"solver state after {report.iter} updates, step {report.current_step}")
    out.print(f"model {report.learned_net or '(none)'}", markup=False)
    shapes = ", ".join(map(shape_text, report.history)) or "none"
    out.print(f"{len(report.history)} history blobs: {shapes}", markup=False)


_PRINTERS: dict[str, Callable[[Any], None]] = {
    "NetReport": _print_net,
    "WeightsReport": _print_weights,
    "SolverReport": _print_solver,
    "MeanReport": _print_mean,
    "StateReport": _print_state,
}


def _value(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, tuple | list):
        return ", ".join(map(_value, value)) or "none"
    if is_dataclass(value) and not isinstance(value, type):
        return ", ".join(f"{name} {_value(entry)}" for name, entry in asdict(value).items())
    return f"{value:g}" if isinstance(value, float) else str(value)


def _print_changes(changes: list[Change], first: Content, second: Content) -> None:
    from deeplab_repro.cli.output import console, table

    names = (str(first.report.source), str(second.report.source))
    if not changes:
        print(f"{names[0]} and {names[1]} hold the same {first.kind}")
        return
    rows = [
        (
            change.place,
            change.what,
            _value(change.first),
            _value(change.second),
            "" if change.max_abs is None else f"{change.max_abs:.3e}",
        )
        for change in changes
    ]
    print(f"A {names[0]}\nB {names[1]}")
    console().print(table(("where", "what", "A", "B", "max abs"), rows, left=("where", "what", "A", "B")))
    print(f"{len(changes)} difference{'s' * (len(changes) > 1)}")
