"""`deeplab trimap`: accuracy near the boundaries."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from deeplab_repro.cli.eval_options import OutputOption, asking
from deeplab_repro.cli.options import JsonOption
from deeplab_repro.evaluate.question import Question

MOST_WIDTHS = 1000


class Boundary(StrEnum):
    """Where objects end."""

    void = "void"
    edges = "edges"


@asking
def trimap(
    question: Question,
    widths: Annotated[str, typer.Option("--widths", metavar="A:B", help="Of the band, pixels.")] = "1:40",
    boundary: Annotated[
        Boundary,
        typer.Option("--boundary", help="void: pixels drawn as void, as VOC does; edges: where labels change."),
    ] = Boundary.void,
    output: OutputOption = None,
    json: JsonOption = None,
) -> None:
    """Score a model within so many pixels of object boundaries, for every width: the papers' trimap curves.

    The band of width w is what lies at most w pixels, along rows and columns, from a void pixel of the truth. Mean IoU
    leaves classes out that do not occur, as the authors' script does; pixel and mean class accuracy stand beside it.
    A set without void outlines has such bands with --boundary edges alone.
    Writes trimap.json and trimap.png to -o, and goes on where an interrupted run stopped.

    [dim]deeplab trimap VOCdevkit/VOC2012 --scores fc8/ --preset v1_largefov -o trimap[/dim]
    """
    from deeplab_repro.cli.output import check_json, progress_steps
    from deeplab_repro.evaluate.question import evaluate_question

    check_json(json)
    bands = _widths(widths)
    scored = evaluate_question(question, output, progress_steps, bands, boundary.value)
    if scored is not None:
        if not scored.result.has_bands:
            line = "a void one; use --boundary edges" if boundary == Boundary.void else "a change of labels"
            lacking = f"{question.dataset}: no labelled pixel within {bands[-1]} pixels of {line}"
            raise ValueError(f"--boundary {boundary.value}: {lacking}")
        curves = scored.result.trimap_curves()
        answer = {"images": scored.result.images, "widths": bands, "boundary": boundary.value, "curves": curves}
        _report(answer, output, json)


def _widths(text: str) -> list[int]:
    """A:B as the widths A to B; ValueError for anything else."""
    first, _, last = text.partition(":")
    if not (first.isdigit() and (last or first).isdigit()) or not int(first) <= int(last or first) <= MOST_WIDTHS:
        raise ValueError(f"--widths {text}: must be FIRST:LAST, whole pixels, at most {MOST_WIDTHS}")
    return list(range(int(first), int(last or first) + 1))


def _report(answer: dict[str, Any], output: Any, json: str | None) -> None:
    from deeplab_repro.cli.output import console, table, write_json
    from deeplab_repro.evaluate.evaluate import STAGE_LABELS
    from deeplab_repro.report.plots import save_curves

    curves = {stage: [band["miou"] for band in bands] for stage, bands in answer["curves"].items()}
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
