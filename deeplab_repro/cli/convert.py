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
    PhaseOption,
    StageOption,
    VariablesOption,
    parse_net_options,
    parse_phase,
)

if TYPE_CHECKING:
    from prototxt_import import NetSpec


def convert(
    net: Annotated[Path, typer.Argument(metavar="NET.prototxt", help="The net, in any dialect.", show_default=False)],
    weights: Annotated[Path, typer.Argument(metavar="W.caffemodel", help="Its weights.", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="The checkpoint; else W.safetensors here.", show_default=False
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

    [dim]deeplab convert test.prototxt train2_iter_8000.caffemodel -o largefov.safetensors[/dim]
    """
    from deeplab_repro.cli.output import check_json, console, print_notes, shape_text, table, write_json
    from deeplab_repro.files.atomic import check_output_file
    from deeplab_repro.predict.opening import require_weights
    from deeplab_repro.predict.preprocessing import spec_preprocessing
    from prototxt_import import read_net

    check_json(json)
    target = output or Path(weights.name).with_suffix(".safetensors")
    _check_suffix(target)
    check_output_file(target)
    spec = read_net(
        net, weights=weights, phase=parse_phase(phase), **parse_net_options(variables, dialect, stage, level)
    )
    print_notes(spec.notes)
    if not allow_missing:
        require_weights(spec, weights, net, "; --allow-missing lets their fillers draw")
    from deeplab_repro.net.checkpoint import save_checkpoint
    from deeplab_repro.net.network import CaffeNet

    facts = spec_preprocessing(spec)
    save_checkpoint(CaffeNet(spec), target, preprocessing={"mean_bgr": list(facts.mean_bgr), "scale": facts.scale})
    answer = _answer(spec, net, weights, target)
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
    out.print(f"not used of {weights}: {', '.join(spec.unused_weights) or 'none'}", markup=False)
    out.print(
        f"{target}: {len(rows)} layers with {answer['parameters']:,} parameters, {spec.phase}, "
        f"dialect {spec.dialect} ({spec.evidence})",
        markup=False,
    )


def _check_suffix(target: Path) -> None:
    """ValueError for a name that promises another format than the one written."""
    suffix = target.suffix.lower()
    if suffix == ".safetensors" or target.is_dir():  # writing says what is wrong with a folder
        return
    others = {
        ".caffemodel": "deeplab export writes Caffe's files",
        ".prototxt": "deeplab export writes Caffe's files",
        ".h5": "deeplab export --hdf5 writes them",
        ".onnx": "deeplab export --onnx writes it",
    }
    pickles = "for a state_dict, torch.save(deeplab_repro.load_checkpoint(FILE).state_dict(), NAME) in Python"
    hint = others.get(suffix, pickles if suffix in (".pt", ".pth") else "")
    raise ValueError(f"{target}: a checkpoint is a .safetensors file; name it so{hint and f' ({hint})'}")


def _answer(spec: NetSpec, net: Path, weights: Path, target: Path) -> dict[str, Any]:
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
