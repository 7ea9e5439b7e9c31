"""Options of `deeplab eval` and `trimap`, some of them `segment`'s too, and the question that they make."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from deeplab_repro.cli.options import (
    Device,
    DeviceOption,
    DialectOption,
    LevelOption,
    StageOption,
    VariablesOption,
    parse_net_options,
    parse_numbers,
    parse_size,
)
from deeplab_repro.evaluate.question import Question

DatasetArgument = Annotated[
    Path,
    typer.Argument(metavar="DATASET", help="A VOC-style or Cityscapes folder, or a list file.", show_default=False),
]
SplitOption = Annotated[str, typer.Option("--split", help="Which of the folder's lists.")]
ClassesOption = Annotated[
    str | None,
    typer.Option("--classes", metavar="N|JSON", help="Their number or names, if not told by the folder."),
]
RootOption = Annotated[
    Path | None,
    typer.Option("--root", metavar="DIR", help="Where a list file's names begin.", show_default=False),
]
# None where a verb takes scores or labels in its place.
ModelOption = Annotated[
    str | None,
    typer.Option("--model", metavar="NAME|FILE", help="bundled, a zoo name, a .prototxt or .safetensors checkpoint."),
]
WeightsOption = Annotated[
    Path | None,
    typer.Option("--weights", metavar="W", help="The .caffemodel of a prototxt or zoo name.", show_default=False),
]
ScoresOption = Annotated[
    Path | None,
    typer.Option("--scores", metavar="DIR", help="Stored scores, ID.npy, .mat, .bin, in place of a model."),
]
LabelsOption = Annotated[
    Path | None,
    typer.Option("--labels", metavar="DIR", help="Stored labels, ID.png, in place of a model."),
]
ScalesOption = Annotated[str, typer.Option("--scales", metavar="S,S", help="Relative image sizes, fused by maximum.")]
FlipOption = Annotated[bool, typer.Option("--flip", help="Average with the mirror image's scores.")]
TileOption = Annotated[
    str | None,
    typer.Option("--tile", metavar="HxW+O", help="Overlapping tiles of that size and overlap, e.g. 721x1281+128."),
]
SizeOption = Annotated[
    str | None,
    typer.Option(
        "--size",
        metavar="HxW",
        help="The net's input size, kept: images are padded to it, scores cropped, as in Caffe's scripts: 513x513.",
        show_default="the next 32k + 1",
    ),
]
CrfOption = Annotated[bool, typer.Option("--crf/--no-crf", help="Also refine by the dense CRF and score that.")]
PresetOption = Annotated[
    str | None,
    typer.Option("--preset", metavar="NAME", help="Published CRF parameters; implies --crf.", show_default=False),
]
OutputOption = Annotated[
    Path | None,
    typer.Option("-o", "--output", metavar="DIR", help="Results and pictures; makes the run resumable."),
]


def parse_tile(text: str | None) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """HxW+O as ((height, width), (overlap, overlap)); ValueError for anything else."""
    if text is None:
        return None
    try:
        size, _, shared = text.partition("+")
        height, width = (int(part) for part in size.split("x"))
        overlap = int(shared or 0)
    except ValueError as error:
        raise ValueError(f"--tile {text}: must be HEIGHTxWIDTH+OVERLAP, such as 721x1281+128") from error
    if not 0 <= overlap < min(height, width):
        raise ValueError(f"--tile {text}: the overlap must lie below both sides")
    return (height, width), (overlap, overlap)


def _ask(
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
    size: SizeOption = None,
    *,
    variables: VariablesOption = None,
    dialect: DialectOption = "auto",
    stage: StageOption = None,
    level: LevelOption = None,
    device: DeviceOption = Device.auto,
) -> Question:
    return Question(
        dataset=dataset,
        split=split,
        classes=classes,
        root=root,
        model=model,
        weights=weights,
        scores=scores,
        labels=labels,
        scales=parse_numbers("--scales", scales),
        flip=flip,
        tile=tile,
        cut=parse_tile(tile),
        crf=crf,
        preset=preset,
        size=None if size is None else parse_size(size),
        net=parse_net_options(variables, dialect, stage, level),
        device=device,
    )


def asking(verb: Callable[..., None]) -> Callable[..., None]:
    """A verb of a question and options of its own as a command that has the question's options, too.

    What is scored on which data goes before the verb's own options; how a net is read and where it runs goes before
    the last of them, --json."""
    asked = inspect.signature(_ask, eval_str=True).parameters
    own = list(inspect.signature(verb, eval_str=True).parameters.values())[1:]
    behind = [option.replace(kind=own[0].kind) for option in asked.values() if option.kind == option.KEYWORD_ONLY]
    before = [option for option in asked.values() if option.kind != option.KEYWORD_ONLY]
    options = [*before, *own[:-1], *behind, own[-1]]

    def command(**given: Any) -> None:
        verb(_ask(**{name: given.pop(name) for name in asked}), **given)

    command.__name__, command.__doc__ = verb.__name__, verb.__doc__
    command.__annotations__ = {option.name: option.annotation for option in options}
    command.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]  # which typer reads
    return command
