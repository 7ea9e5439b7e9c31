"""Options of `deeplab eval` and `trimap`, some of them `segment`'s too, and the evaluation that both ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from deeplab_repro.cli.options import NetOptions
    from deeplab_repro.crf.model import CRFParams
    from deeplab_repro.data.sets.datasets import SegmentationDataset
    from deeplab_repro.evaluate.evaluate import Result, Source
    from deeplab_repro.predict.segmenter import Segmenter

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


def pick_crf(own: CRFParams | None, crf: bool, preset: str | None) -> CRFParams | None:
    """The CRF's parameters: a preset's, else the model's own, else the defaults; None without --crf and --preset."""
    from deeplab_repro.crf.model import CRFParams

    if preset is not None:
        return CRFParams.preset(preset)
    return (own or CRFParams()) if crf else None


@dataclass(frozen=True)
class Question:
    """What is to be scored on which data, as the options of their names have it."""

    dataset: Path
    split: str
    classes: str | None
    root: Path | None
    model: str | None
    weights: Path | None
    scores: Path | None
    labels: Path | None
    scales: str
    flip: bool
    tile: str | None
    crf: bool
    preset: str | None
    net: NetOptions
    device: str

    def facts(self) -> dict[str, Any]:
        """Where the truth comes from."""
        return {"data": str(self.dataset), "split": self.split}


@dataclass(frozen=True)
class Evaluation:
    """The answer to a question. source: a record of what made the answers; params: of the CRF, or None."""

    data: SegmentationDataset
    result: Result
    source: dict[str, Any]
    params: dict[str, Any] | None


def evaluate_question(
    asked: Question,
    output: Path | None,
    widths: Sequence[int] = (),
    boundary: Literal["void", "edges"] = "void",
    store_scores: Path | None = None,
    write_labels: Path | None = None,
    layout: str = "plain",
) -> Evaluation | None:
    """`evaluate` of what is asked, this process's share under torchrun; None where another one tells the answer.

    output: folder that makes it resumable."""
    import torch

    from deeplab_repro.cli.output import progress_steps
    from deeplab_repro.data.sets.datasets import open_dataset
    from deeplab_repro.evaluate.evaluate import evaluate
    from deeplab_repro.evaluate.label_files import LabelFiles
    from deeplab_repro.jobs.ranks import joined

    with joined(torch.device("cpu")) as ranks:
        data = open_dataset(asked.dataset, asked.split, asked.classes, asked.root)
        source, own, facts = pick_source(data, asked)
        crf = pick_crf(own, asked.crf, asked.preset)
        params = None if crf is None else asdict(crf)
        writer = None if write_labels is None else LabelFiles(write_labels, data, layout)
        for folder in filter(None, (output, store_scores)):
            folder.mkdir(parents=True, exist_ok=True)
        with progress_steps("evaluating") as progress:
            result = evaluate(
                source,
                data,
                crf,
                widths,
                ranks,
                boundary=boundary,
                resume=output,
                settings={**facts, **asked.facts(), "crf": params},
                store_scores=store_scores,
                write_labels=writer,
                progress=progress,
            )
    return Evaluation(data, result, facts, params) if ranks.first else None


def pick_source(
    dataset: SegmentationDataset, asked: Question
) -> tuple[Segmenter | Source, CRFParams | None, dict[str, Any]]:
    """What makes the answers, the CRF parameters that ride along with it, and a record of both for resuming."""
    from deeplab_repro.cli.options import parse_numbers
    from deeplab_repro.evaluate.evaluate import from_labels, from_scores, from_segmenter
    from deeplab_repro.jobs.devices import local_device, pick_device

    model, scores, labels = asked.model, asked.scores, asked.labels
    if sum(source is not None for source in (model, scores, labels)) > 1:
        raise ValueError("--model, --scores and --labels exclude each other")
    if model is None and scores is None and labels is None:
        raise ValueError("nothing to score; give --model (bundled is the demo's), --scores or --labels")
    for folder in (scores, labels):
        if folder is not None and not folder.is_dir():
            raise FileNotFoundError(f"{folder}: no such folder")
    if scores is not None or labels is not None:
        dataset.check_names()
    if scores is not None:
        return from_scores(scores), None, {"scores": str(scores.resolve())}
    if labels is not None:
        return from_labels(labels, dataset), None, {"labels": str(labels.resolve())}

    from deeplab_repro.predict.segmenter import Segmenter

    assert model is not None  # one of the three is given
    factors = parse_numbers("--scales", asked.scales)
    segmenter = Segmenter(
        model,
        asked.weights,
        scales=factors,
        flip=asked.flip,
        device=local_device(pick_device(asked.device)),
        **asked.net,
    )
    own = segmenter.crf
    classes = segmenter.net.spec.blobs[segmenter.score_blob][1]
    if classes != dataset.num_classes:
        raise ValueError(
            f"model {model} tells {classes} classes, the data set has {dataset.num_classes}; "
            "choose the model that was trained for it, or give --classes"
        )
    facts = {
        "model": model,
        "weights": asked.weights and str(asked.weights),
        "net": segmenter.fingerprint(),
        "scales": factors,
        "flip": asked.flip,
        "tile": asked.tile,
    }
    cut = parse_tile(asked.tile)
    return (segmenter if cut is None else from_segmenter(segmenter, *cut)), own, facts
