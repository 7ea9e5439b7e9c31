"""`deeplab export`: a model back to Caffe's files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deeplab_repro.cli.options import JsonOption, PhaseOption, VariablesOption, parse_phase, parse_variables

if TYPE_CHECKING:
    from deeplab_repro.network import CaffeNet


def export(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A zoo name, bundled, a .prototxt or a .safetensors.", show_default=False),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="DIR|FILE", help="Folder for the files; with --onnx the file.", show_default=False
        ),
    ],
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights", metavar="W", help="A .caffemodel or .caffemodel.h5; else fillers draw.", show_default=False
        ),
    ] = None,
    dialect: Annotated[
        str | None,
        typer.Option("--dialect", help="Write for v1, v2, x2 or bvlc; else the net's own.", show_default=False),
    ] = None,
    hdf5: Annotated[bool, typer.Option("--hdf5", help="Write the weights as .caffemodel.h5.")] = False,
    onnx: Annotated[bool, typer.Option("--onnx", help="Write one ONNX file of plain operators instead.")] = False,
    size: Annotated[
        str | None, typer.Option("--size", metavar="HxW", help="Input size of the ONNX file.", show_default=False)
    ] = None,
    phase: PhaseOption = "TEST",
    variables: VariablesOption = None,
    json: JsonOption = None,
) -> None:
    """Write a model as prototxt and caffemodel, or as ONNX.

    The files, test.prototxt (or train.prototxt) and model.caffemodel, are for the Caffe fork that --dialect names: v1
    writes [b]hole[/b] and old-style layers, v2 [b]dilation[/b] and new-style ones. What is read back has the same bits.

    [dim]deeplab export largefov.safetensors --dialect v2 -o for-caffe[/dim]

    With --onnx it is one file for other runtimes, in phase TEST, for one input size.

    [dim]deeplab export bundled --onnx --size 241x321 -o net.onnx[/dim]
    """
    from deeplab_repro.cli.output import check_json, write_json
    from deeplab_repro.export import export_net
    from deeplab_repro.inspect import parameter_count

    check_json(json)
    if onnx and (hdf5 or dialect):
        raise ValueError("--onnx: goes with neither --hdf5 nor --dialect, which are for Caffe's files")
    if size and not onnx:
        raise ValueError("--size: is for --onnx alone; Caffe's files keep the size of the net")
    net = _open(model, weights, parse_phase(phase), parse_variables(variables), dialect)
    if weights is not None and net.spec.missing_weights:
        missing = ", ".join(net.spec.missing_weights)
        raise ValueError(f"{weights}: holds no weights for the layers {missing} of {model}")
    if onnx:
        _write_onnx(net, model, output, size, json)
        return
    files = export_net(net, output, dialect, hdf5)
    answer = {
        "model": model,
        "prototxt": files.prototxt,
        "weights": files.weights,
        "dialect": files.dialect,
        "phase": net.spec.phase,
        "layers": len(net.spec.layers),
        "parameters": parameter_count(net.spec),
    }
    if write_json(answer, json):
        own = model == "bundled" or Path(model).suffix == ".safetensors"
        drawn = "" if own or weights is not None else ", drawn by their fillers"
        print(f"{files.prototxt}: {answer['layers']} layers, dialect {files.dialect}, {net.spec.phase}")
        print(f"{files.weights}: {answer['parameters']:,} parameters{drawn}")


def _write_onnx(net: CaffeNet, model: str, output: Path, size: str | None, json: str | None) -> None:
    from deeplab_repro.cli.output import write_json
    from deeplab_repro.onnx_export import OPSET, export_onnx

    inputs = dict(net.inputs)
    if size is not None:
        sides = [int(side) if side.isdecimal() else 0 for side in size.lower().split("x")]
        if len(sides) != 2 or min(sides) < 1:
            raise ValueError(f"--size {size}: must be HEIGHTxWIDTH, such as 321x321")
        inputs = {name: (*shape[:-2], *sides) if len(shape) == 4 else shape for name, shape in inputs.items()}
    export_onnx(net, output, inputs)
    answer = {"model": model, "onnx": output, "opset": OPSET, "inputs": inputs, "outputs": net.spec.outputs}
    if write_json(answer, json):
        shapes = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in inputs.items())
        print(f"{output}: opset {OPSET}, {shapes} -> {', '.join(net.spec.outputs)}")


def _open(model: str, weights: Path | None, phase: str, variables: dict[str, str], dialect: str | None) -> CaffeNet:
    from deeplab_repro import models
    from deeplab_repro.network import load_caffe
    from deeplab_repro.resolve import check_model, open_model

    # Only a model that could have weights of its own, or none, may come without.
    if model in models.__all__:
        written = {"dialect": dialect} if dialect in ("v1", "v2") else {}
        return getattr(models, model)(weights=weights, phase=phase, **written)
    if Path(model).suffix == ".prototxt":
        return load_caffe(model, weights, phase, variables)
    check_model(model, weights)
    net, _ = open_model(model, weights, variables)
    if net.spec.phase != phase:
        raise ValueError(f"{model}: is a net in phase {net.spec.phase}; export its prototxt to get the other")
    return net
