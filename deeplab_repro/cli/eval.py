"""`deeplab eval`: a model, stored scores or stored labels against a data set's truth."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deeplab_repro.cli.eval_options import OutputOption, asking
from deeplab_repro.cli.options import JsonOption
from deeplab_repro.evaluate.question import Question

if TYPE_CHECKING:
    from deeplab_repro.evaluate.evaluate import Result


class AbsentRule(StrEnum):
    """What a class that neither truth nor prediction holds counts in the mean."""

    devkit = "devkit"
    drop = "drop"
    segaccuracy = "segaccuracy"


@asking
def eval(
    question: Question,
    absent: Annotated[
        AbsentRule,
        typer.Option("--absent", help="A class that occurs nowhere is 0 (devkit), left out (drop), 1 (segaccuracy)."),
    ] = AbsentRule.devkit,
    store_scores: Annotated[
        Path | None,
        typer.Option("--store-scores", metavar="DIR", help="Keep the network's scores as ID.npy.", show_default=False),
    ] = None,
    write_labels: Annotated[
        Path | None,
        typer.Option("--write-labels", metavar="DIR", help="Keep the final labels as PNGs.", show_default=False),
    ] = None,
    layout: Annotated[
        str, typer.Option("--layout", help="Of these: plain, voc (comp6_SPLIT_cls), cityscapes (label ids).")
    ] = "plain",
    output: OutputOption = None,
    json: JsonOption = None,
) -> None:
    """Score a model on a data set: pixel accuracy, mean accuracy, mean IoU, frequency-weighted IoU, IoU by class.

    One confusion matrix over all images; void pixels are left out; before and after the CRF where one is asked for. A
    class that occurs in neither truth nor prediction counts 0, as in VOC's development kit, unless --absent says
    otherwise. In place of a model, stored scores or labels can be scored.

    With -o, result.json and confusion.png are written, and every finished image is noted: repeat the command after an
    interruption and it goes on. Under torchrun the images are shared out; the counts are the same. Of a split whose
    truth is not published, --write-labels and --store-scores write the answers and nothing is counted.

    [dim]deeplab eval VOCdevkit/VOC2012 --model deploy.prototxt --weights w.caffemodel --preset v2_vgg16 -o out[/dim]

    [dim]torchrun --nproc-per-node 2 --no-python -- deeplab eval cityscapes --model m.safetensors --tile 721x1281[/dim]
    """
    from deeplab_repro.cli.output import check_json, console, progress_steps, write_json
    from deeplab_repro.evaluate.question import evaluate_question

    check_json(json)
    scored = evaluate_question(
        question, output, progress_steps, store_scores=store_scores, write_labels=write_labels, layout=layout
    )
    if scored is None:
        return
    answer = {
        **question.facts(),
        "images": scored.result.images,
        "absent_rule": absent.value,
        **scored.source,
        "crf_parameters": scored.params,
    }
    if scored.data.has_truth:
        _report(answer, scored.result, output, json)
    elif write_json(answer, json):
        where = ", ".join(str(folder) for folder in (write_labels, store_scores) if folder is not None)
        console().print(f"{scored.result.images} images without truth answered, in {where}")


def _report(answer: dict[str, Any], result: Result, output: Path | None, json: str | None) -> None:
    from deeplab_repro.cli.output import console, table, write_json
    from deeplab_repro.evaluate.evaluate import ABSENT_RULES
    from deeplab_repro.report.plots import save_confusion

    answer["stages"] = result.summary(ABSENT_RULES[answer["absent_rule"]])
    if output is not None:
        for name, counts in result.counts.items():
            answer.setdefault("confusion", {})[name] = counts[0]
        write_json(answer, str(output / "result.json"))
        final = answer["stages"][list(result.counts)[-1]]
        title = f"{answer['images']} images, mean IoU {100 * final['miou']:.2f} %"
        save_confusion(result.confusion.matrix, result.class_names, output / "confusion.png", title)
    if not write_json(answer, json):
        return
    stages = answer["stages"]
    columns = ("", *stages)
    rows = [
        (text, *(f"{100 * stage[key]:.2f}" for stage in stages.values()))
        for key, text in (
            ("miou", f"mean IoU, % (absent classes: {answer['absent_rule']})"),
            ("pixel_accuracy", "pixel accuracy, %"),
            ("mean_accuracy", "mean accuracy, %"),
            ("fwiou", "frequency-weighted IoU, %"),
        )
    ]
    rows += [
        (f"  {name}", *(f"{100 * stage['per_class'][name]:.2f}" for stage in stages.values()))
        for name in result.class_names
    ]
    console().print(table(columns, rows, left=("",), title=f"{answer['images']} images"))
