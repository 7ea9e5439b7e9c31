"""`deeplab inspect`: what is in a net or a weight file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deeplab_repro.cli.options import (
    DialectOption,
    JsonOption,
    PhaseOption,
    VariablesOption,
    parse_phase,
    parse_variables,
)

if TYPE_CHECKING:
    from deeplab_repro.inspect import Field, NetReport, WeightsReport


def inspect(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help=".prototxt, .caffemodel, .safetensors.", show_default=False)
    ],
    phase: PhaseOption = "TEST",
    variables: VariablesOption = None,
    dialect: DialectOption = "auto",
    json: JsonOption = None,
) -> None:
    """Show what is in a net or a weight file.

    For a net: each layer with its type, the shape of what it gives, its parameters, its multiply-accumulates and
    its receptive field (size, stride and the centre of element 0's field, in input pixels); the dialect the file is
    written in and the template variables it holds. For weights: each layer's blobs.

    [dim]deeplab inspect test.prototxt train2_iter_8000.caffemodel[/dim]
    """
    from deeplab_repro.cli.output import check_json, write_json
    from deeplab_repro.inspect import NetReport, inspect_net, inspect_weights
    from prototxt_import import read_net

    check_json(json)
    reports: list[NetReport | WeightsReport] = []
    for path in files:
        suffix = path.suffix.lower()
        if suffix == ".safetensors":
            from deeplab_repro.checkpoint import load_checkpoint

            reports.append(inspect_net(load_checkpoint(path).spec))
        elif suffix in (".caffemodel", ".h5"):
            reports.append(inspect_weights(path))
        elif suffix == ".prototxt" or not path.exists():
            spec = read_net(path, phase=parse_phase(phase), variables=parse_variables(variables), dialect=dialect)
            reports.append(inspect_net(spec))
        else:
            raise ValueError(f"{path}: inspect reads .prototxt, .caffemodel, .caffemodel.h5 and .safetensors files")
    if not write_json({"files": [_as_json(report) for report in reports]}, json):
        return
    for report in reports:
        if isinstance(report, NetReport):
            _print_net(report)
        else:
            _print_weights(report)


def _as_json(report: Any) -> dict[str, Any]:
    answer = asdict(report)
    for entry, layer in zip(answer["layers"], report.layers, strict=True) if "phase" in answer else ():
        entry["field"] = _field_facts(layer.field)
    if "phase" in answer:
        answer["field"] = _field_facts(report.field)
    return answer


def _field_facts(field: Field | None) -> dict[str, Any] | None:
    return None if field is None else {"size": field.size, "stride": field.stride, "offset": field.offset}


def _pair(values: tuple[float, float]) -> str:
    texts = [f"{value:.4g}" for value in values]
    return texts[0] if texts[0] == texts[1] else " x ".join(texts)


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "-"


def _print_net(report: NetReport) -> None:
    from deeplab_repro.cli.output import console, table

    out = console()
    out.print(f"{report.source or report.name}", style="bold", markup=False)
    out.print(f"net {report.name or '(no name)'}, {report.phase}, dialect {report.dialect}", markup=False)
    if report.variables:
        out.print(f"variables {', '.join(report.variables)}", markup=False)
    for name, shape in report.inputs.items():
        out.print(f"input {name} {_shape(shape)}", markup=False)
    rows = []
    for layer in report.layers:
        field = layer.field
        rows.append(
            (
                layer.name,
                layer.type,
                ", ".join(layer.bottoms),
                ", ".join(
                    name if (name,) == layer.bottoms else f"{name} {_shape(shape)}"
                    for name, shape in zip(layer.tops, layer.shapes, strict=True)
                ),
                ", ".join(map(_shape, layer.params)),
                f"{layer.parameters:,}" if layer.parameters else "",
                f"{layer.macs / 1e6:,.1f}" if layer.macs else "",
                _pair(field.size) if field else "",
                _pair(field.stride) if field else "",
                _pair(field.offset) if field else "",
            )
        )
    columns = ("layer", "type", "from", "gives", "blobs", "parameters", "M mult-acc", "field", "stride", "offset")
    out.print(table(columns, rows, left=("layer", "type", "from", "gives", "blobs")))
    out.print(f"{len(report.layers)} layers, {report.parameters:,} parameters, {report.macs / 1e9:,.3f} G mult-acc")
    if report.field:
        out.print(f"widest receptive field {_pair(report.field.size)}")
    out.print(f"outputs {', '.join(report.outputs) or 'none'}", markup=False)


def _print_weights(report: WeightsReport) -> None:
    from deeplab_repro.cli.output import console, table

    out = console()
    out.print(report.source, style="bold", markup=False)
    rows = [(name, ", ".join(map(_shape, blobs))) for name, blobs in report.layers.items()]
    out.print(table(("layer", "blobs"), rows, left=("layer", "blobs")))
    out.print(f"{len(report.layers)} layers, {report.parameters:,} numbers, {report.size / 1e6:,.2f} MB")
