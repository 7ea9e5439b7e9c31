"""`deeplab convert`: Caffe files to a checkpoint."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deeplab_repro.cli.options import (
    DialectOption,
    JsonOption,
    LevelOption,
    NetOptions,
    PhaseOption,
    StageOption,
    VariablesOption,
    parse_net_options,
    parse_phase,
)

if TYPE_CHECKING:
    from prototxt_import import NetSpec


def convert(
    net: Annotated[
        str,
        typer.Argument(
            metavar="NET",
            help="A prototxt in any dialect, a checkpoint, a zoo name, or a lone model.",
            show_default=False,
        ),
    ],
    weights: Annotated[
        Path | None,
        typer.Argument(metavar="[W]", help="Its .caffemodel, .h5, or a port's .pth.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="What to write; else W.safetensors here.", show_default=False
        ),
    ] = None,
    phase: PhaseOption = "TEST",
    variables: VariablesOption = None,
    dialect: DialectOption = "auto",
    stage: StageOption = None,
    level: LevelOption = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Let fillers draw what the weight file lacks.")
    ] = False,
    json: JsonOption = None,
) -> None:
    """Turn a prototxt and a caffemodel of any dialect into one checkpoint.

    Layers are matched by name, the shapes of their blobs checked. The checkpoint, a .safetensors file, holds the
    weights, the net and the mean of its data layer; [b]--model[/b] of other verbs takes it. Prints what was mapped and
    what was not.

    The name given to -o tells the format: .safetensors; .pt or .pth, the net's state_dict; .caffemodel or .h5, Caffe's
    model; .npz, arrays LAYER/0, LAYER/1 and so on. A model without its net becomes one of the last three.

    [dim]deeplab convert test.prototxt train2_iter_8000.caffemodel -o largefov.safetensors[/dim]

    [dim]deeplab convert deeplab_resnet101 port.pth -o resnet101.caffemodel[/dim]
    """
    from deeplab_repro.cli.output import check_json, console, print_notes, shape_text, table, write_json
    from deeplab_repro.export.formats import check_format
    from deeplab_repro.files.atomic import check_output_file

    check_json(json)
    phase, asked = parse_phase(phase), parse_net_options(variables, dialect, stage, level)
    target = output or Path(Path(net if weights is None else weights).name).with_suffix(".safetensors")
    if not target.is_dir():  # the check of the file says what is wrong with a folder
        check_format(target)
    check_output_file(target)
    kinds = {"net": _kind(net), "weights": weights and _kind(str(weights))}
    if kinds["weights"] == "net" and kinds["net"] in ("weights", "port"):  # the other way round
        assert weights is not None
        net, weights = str(weights), Path(net)
        kinds = {"net": "net", "weights": kinds["net"]}
    if weights is None and kinds["net"] in ("weights", "port"):
        _convert_lone(net, kinds["net"], target, json)
        return
    if weights is None and kinds["net"] in ("net", "zoo"):
        raise ValueError(f"{net}: its weights are missing; name its .caffemodel behind it")
    if kinds["net"] not in ("net", "zoo", "checkpoint"):
        raise ValueError(f"{net}: is a {kinds['net']}, no net and no model; nothing to convert")
    spec, facts = _read(net, kinds["net"], weights, phase, asked)
    print_notes(spec.notes)
    if not allow_missing and weights is not None:
        from deeplab_repro.predict.opening import require_weights

        require_weights(spec, weights, net, "; --allow-missing lets their fillers draw")
    from deeplab_repro.export.formats import write_net_as
    from deeplab_repro.net.network import CaffeNet

    written = write_net_as(CaffeNet(spec), target, facts)
    answer = _answer(spec, net, weights or net, target)
    if not write_json(answer, json):
        return
    out = console()
    rows = [
        (
            layer["layer"],
            layer["type"],
            ", ".join(map(shape_text, layer["blobs"])),
            layer["from"],
        )
        for layer in answer["layers"]
    ]
    out.print(table(("layer", "type", "blobs", "from"), rows, left=("layer", "type", "blobs", "from")))
    others = Counter(layer.type for layer in spec.layers if not spec.param_shapes.get(layer.name))
    out.print(
        f"without weights: {', '.join(f'{count} {kind}' for kind, count in others.items()) or 'none'}", markup=False
    )
    out.print(f"not used of {answer['weights']}: {', '.join(spec.unused_weights) or 'none'}", markup=False)
    out.print(
        f"{target}: {len(rows)} layers with {answer['parameters']:,} parameters, {spec.phase}, "
        f"dialect {spec.dialect} ({spec.evidence})" + ("" if written == "checkpoint" else f"; {written}"),
        markup=False,
    )


def _kind(name: str) -> str:
    """What a file is, as `inspect` tells it, or "port" for one of torch's, "zoo" for a name of the zoo's."""
    from deeplab_repro import zoo
    from deeplab_repro.inspect import file_kind
    from deeplab_repro.zoo.ports import SUFFIXES

    path = Path(name)
    if not path.exists() and name in zoo.names():
        return "zoo"
    if not path.exists():
        raise FileNotFoundError(f"{name}: no such file")
    if path.is_dir():
        raise IsADirectoryError(f"{name}: is a folder, a file is meant")
    return "port" if path.suffix.lower() in SUFFIXES else file_kind(path)


def _read(net: str, kind: str, weights: Path | None, phase: str, asked: NetOptions) -> tuple[NetSpec, dict[str, Any]]:
    """The net with its weights, and what a checkpoint records beside."""
    from dataclasses import replace

    from deeplab_repro import zoo
    from deeplab_repro.predict.preprocessing import spec_preprocessing
    from deeplab_repro.zoo.ports import SUFFIXES, attach_weights
    from prototxt_import import read_net

    if kind == "checkpoint":
        from deeplab_repro.export.caffe import net_arrays
        from deeplab_repro.net.checkpoint import read_checkpoint

        if weights is not None:
            raise ValueError(f"{net}: a checkpoint has its own weights; leave {weights} out, or name a prototxt")
        loaded, record = read_checkpoint(net)
        return replace(loaded.spec, weights=net_arrays(loaded)), record
    assert weights is not None
    if kind == "zoo":
        spec = attach_weights(zoo.spec(net, phase=phase), weights)
    elif weights.suffix.lower() in SUFFIXES:
        spec = attach_weights(read_net(net, phase=phase, **asked), weights)
    else:
        spec = read_net(net, weights=weights, phase=phase, **asked)
    facts = spec_preprocessing(spec)
    return spec, {"mean_bgr": list(facts.mean_bgr), "scale": facts.scale}


def _convert_lone(model: str, kind: str, target: Path, json: str | None) -> None:
    """A model without its net, to formats that need none."""
    from deeplab_repro.cli.output import write_json
    from deeplab_repro.export.formats import check_format, write_arrays_as
    from prototxt_import import read_weights

    if kind == "port":
        raise ValueError(f"{model}: a port's tensors need their net; name it before them, such as deeplab_resnet101")
    check_format(target, with_net=False)
    blobs = read_weights(model)
    written = write_arrays_as(blobs, target)
    parameters = sum(blob.size for held in blobs.values() for blob in held)
    answer = {"weights": model, "checkpoint": target, "parameters": parameters, "layers": list(blobs)}
    if write_json(answer, json):
        print(f"{target}: {len(blobs)} layers with {parameters:,} parameters; {written}")


def _answer(spec: NetSpec, net: str, weights: str | Path, target: Path) -> dict[str, Any]:
    from deeplab_repro.inspect import parameter_count
    from deeplab_repro.inspect.net import weight_origins

    return {
        "net": net,
        "weights": weights,
        "checkpoint": target,
        "dialect": spec.dialect,
        "evidence": spec.evidence,
        "phase": spec.phase,
        "parameters": parameter_count(spec),
        "layers": weight_origins(spec),
        "without_weights": [layer.name for layer in spec.layers if not spec.param_shapes.get(layer.name)],
        "unused": list(spec.unused_weights),
        "missing": list(spec.missing_weights),
    }
