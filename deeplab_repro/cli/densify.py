"""`deeplab densify`: a classifier, or any net, to its dense form."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

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
    parse_size,
)


def densify(
    net: Annotated[Path, typer.Argument(metavar="NET.prototxt", help="The net, in any dialect.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the files.")],
    weights: Annotated[
        Path | None, typer.Option("--weights", metavar="W", help="Its .caffemodel or .caffemodel.h5.")
    ] = None,
    output_stride: Annotated[
        int, typer.Option("--output-stride", metavar="N", help="Input pixels from one score to the next.")
    ] = 8,
    pooling: Annotated[
        str, typer.Option("--pooling", help="Pooling of a rate: exact (as shifts), or window (all of its extent).")
    ] = "exact",
    size: Annotated[
        str | None, typer.Option("--size", metavar="HxW", help="Input size; else the net's own, or the next that fits.")
    ] = None,
    phase: PhaseOption = "TEST",
    variables: VariablesOption = None,
    dialect: DialectOption = "auto",
    stage: StageOption = None,
    level: LevelOption = None,
    json: JsonOption = None,
) -> None:
    """Turn a classifier into a net that scores every few pixels, with the same weights.

    Fully connected layers become convolutions; where the stride would pass --output-stride it goes, and all later
    kernels get a rate instead: DeepLab's own first step, for any net. The receptive field stays. Inside the image the
    scores are those of the original net moved over it; --pooling window takes plain windows instead, as DeepLab did.
    Writes the prototxt, in the dialect of the net, and with --weights the caffemodel; prints what changed.

    [dim]deeplab densify VGG_ILSVRC_16_layers_deploy.prototxt --weights VGG_ILSVRC_16_layers.caffemodel -o dense[/dim]
    """
    from deeplab_repro.cli.output import check_json, console, shape_text, table, write_json
    from deeplab_repro.export.caffe import write_forms
    from deeplab_repro.inspect.windows import changed_windows, output_fields
    from deeplab_repro.net.densify import densify as make_dense
    from deeplab_repro.predict.opening import require_weights
    from prototxt_import import read_net

    check_json(json)
    spec = read_net(net, weights, parse_phase(phase), **parse_net_options(variables, dialect, stage, level))
    if weights is not None:
        require_weights(spec, weights, net)
    dense = make_dense(spec, output_stride, pooling, parse_size(size) if size is not None else None)
    files = write_forms([(f"{dense.phase.lower()}.prototxt", dense)], output, blobs=dense.weights or None)
    answer: dict[str, Any] = {
        "files": files,
        "inputs": dict(dense.inputs),
        "changed": changed_windows(spec, dense),
        "outputs": output_fields(dense),
    }
    if not write_json(answer, json):
        return
    columns = ("layer", "type", "before", "after")
    rows = [tuple(row[column] for column in columns) for row in answer["changed"]]
    console().print(table(columns, rows, left=columns))
    for name, facts in answer["outputs"].items():
        field = "whole image" if facts["field"] is None else f"field {shape_text(facts['field'])}"
        print(f"{name}: {shape_text(facts['shape'])}, {field}")
    for file in files:
        print(file)
    made = [name for name in dense.weights if name not in spec.weights]
    if made and weights is None:
        print(f"{files[-1]}: holds the shifts of pooling alone; finetune from it and the net's own weights")
