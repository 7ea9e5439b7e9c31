"""`deeplab trimap`: accuracy near the boundaries."""

from __future__ import annotations

from enum import StrEnum
from math import isnan
from typing import Annotated, Any

import typer

from deeplab_repro.cli.eval_options import (
    ClassesOption,
    CrfOption,
    DatasetArgument,
    FlipOption,
    LabelsOption,
    ModelOption,
    OutputOption,
    PresetOption,
    RootOption,
    ScalesOption,
    ScoresOption,
    SplitOption,
    TileOption,
    WeightsOption,
)
from deeplab_repro.cli.options import Device, DeviceOption, JsonOption, VariablesOption, parse_variables

MOST_WIDTHS = 1000


class Boundary(StrEnum):
    """Where objects end."""

    void = "void"
    edges = "edges"


def trimap(
    dataset: DatasetArgument,
    model: ModelOption = None,
    weights: WeightsOption = None,
    scores: ScoresOption = None,
    labels: LabelsOption = None,
    split: SplitOption = "val",
    classes: ClassesOption = None,
    root: RootOption = None,
    scales: ScalesOption = "1",
    flip: FlipOption = False,
    tile: TileOption = None,
    crf: CrfOption = False,
    preset: PresetOption = None,
    widths: Annotated[str, typer.Option("--widths", metavar="A:B", help="Of the band, pixels.")] = "1:40",
    boundary: Annotated[
        Boundary,
        typer.Option("--boundary", help="void: pixels drawn as void, as VOC does; edges: where labels change."),
    ] = Boundary.void,
    output: OutputOption = None,
    variables: VariablesOption = None,
    device: DeviceOption = Device.auto,
    json: JsonOption = None,
) -> None:
    """Score a model within so many pixels of object boundaries, for every width: the papers' trimap curves.

    The band of width w is what lies at most w pixels, along rows and columns, from a void pixel of the truth. Mean IoU
    leaves classes out that do not occur, as the authors' script does; pixel and mean class accuracy stand beside it.
    A set without void outlines has such bands with --boundary edges alone.
    Writes trimap.json and trimap.png to -o, and goes on where an interrupted run stopped.

    [dim]deeplab trimap VOCdevkit/VOC2012 --scores fc8/ --preset v1_largefov -o trimap[/dim]
    """
    import torch

    from deeplab_repro.cli.eval_options import pick_crf, pick_source
    from deeplab_repro.cli.output import check_json, progress_steps
    from deeplab_repro.data.sets.datasets import open_dataset
    from deeplab_repro.evaluate.evaluate import evaluate
    from deeplab_repro.jobs.ranks import joined

    check_json(json)
    bands = _widths(widths)
    with joined(torch.device("cpu")) as ranks:
        data = open_dataset(dataset, split, classes, root)
        source, own, facts = pick_source(
            data, model, weights, scores, labels, scales, flip, tile, parse_variables(variables), device
        )
        if output is not None:
            output.mkdir(parents=True, exist_ok=True)
        params = pick_crf(own, crf, preset)
        settings = {**facts, "data": str(dataset), "split": split, "crf": repr(params)}
        with progress_steps("evaluating") as progress:
            result = evaluate(
                source, data, params, bands, ranks, boundary=boundary.value, resume=output,
                settings=settings, progress=progress,
            )  # fmt: skip
    if ranks.first:
        curves = {name: [_figures(each) for each in result.trimap(name)] for name in result.counts}
        _check_bands(curves, boundary, bands[-1], str(dataset))
        _report({"images": result.images, "widths": bands, "boundary": boundary.value, "curves": curves}, output, json)


def _widths(text: str) -> list[int]:
    """A:B as the widths A to B; ValueError for anything else."""
    first, _, last = text.partition(":")
    if not (first.isdigit() and (last or first).isdigit()) or not int(first) <= int(last or first) <= MOST_WIDTHS:
        raise ValueError(f"--widths {text}: must be FIRST:LAST, whole pixels, at most {MOST_WIDTHS}")
    return list(range(int(first), int(last or first) + 1))


def _check_bands(curves: dict[str, list[dict[str, float]]], boundary: Boundary, width: int, dataset: str) -> None:
    """ValueError where no band holds a pixel: many sets have no void outlines."""
    if all(isnan(each["pixel_accuracy"]) for rows in curves.values() for each in rows):
        line = "a void one; use --boundary edges" if boundary == Boundary.void else "a change of labels"
        raise ValueError(f"--boundary {boundary.value}: {dataset}: no labelled pixel within {width} pixels of {line}")


def _figures(matrix: Any) -> dict[str, float]:
    return {
        "miou": matrix.miou("nan"),
        "pixel_accuracy": matrix.pixel_accuracy(),
        "mean_accuracy": matrix.mean_accuracy(),
    }


def _report(answer: dict[str, Any], output: Any, json: str | None) -> None:
    from deeplab_repro.cli.output import console, table, write_json
    from deeplab_repro.evaluate.evaluate import STAGE_LABELS
    from deeplab_repro.report.plots import save_curves

    curves = {name: [each["miou"] for each in rows] for name, rows in answer["curves"].items()}
    if output is not None:
        write_json(answer, str(output / "trimap.json"))
        named = {STAGE_LABELS[stage]: values for stage, values in curves.items()}
        save_curves(answer["widths"], named, output / "trimap.png", "width of the trimap, pixels", "mean IoU")
    if write_json(answer, json):
        rows = [
            (width, *(f"{100 * values[i]:.2f}" for values in curves.values()))
            for i, width in enumerate(answer["widths"])
        ]
        title = f"mean IoU, %, {answer['images']} images"
        console().print(table(("width, pixels", *curves), rows, title=title))
