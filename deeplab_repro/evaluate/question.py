"""What a user asks to be scored, on which data, and its answer: `deeplab eval` and `deeplab trimap`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from deeplab_repro.crf.params import CRFParams
    from deeplab_repro.data.sets.datasets import SegmentationDataset
    from deeplab_repro.evaluate.evaluate import Result, Source
    from deeplab_repro.predict.segmenter import Segmenter

Pair = tuple[int, int]
# Told what is done; gives a function of (done, total).
Steps = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]


@dataclass(frozen=True)
class Question:
    """What is to be scored on which data.

    Args:
        dataset: A folder, or a list file.
        split: Which of the folder's lists.
        classes: Their number or names, where the folder does not tell.
        root: Where a list file's names begin.
        model: A model's name or file; it, `scores` or `labels` is given.
        weights: The .caffemodel of a prototxt or zoo name.
        scores: A folder of stored scores.
        labels: A folder of stored labels.
        scales: Relative image sizes.
        flip: Whether to average with the mirror image's scores.
        tile: Tiles as the user wrote them, for the record.
        cut: Size and overlap of the tiles, (h, w) each; None for whole images.
        crf: Whether to refine by the dense CRF.
        preset: Published CRF parameters; they imply `crf`.
        size: Height and width of the net's input, which every image is padded to; None for the next 32k + 1.
        net: How a prototxt is read: variables, dialect, level and stages.
        device: "auto", "cpu" or "cuda".
    """

    dataset: Path
    split: str
    classes: str | None
    root: Path | None
    model: str | None
    weights: Path | None
    scores: Path | None
    labels: Path | None
    scales: tuple[float, ...]
    flip: bool
    tile: str | None
    cut: tuple[Pair, Pair] | None
    crf: bool
    preset: str | None
    size: Pair | None
    net: Mapping[str, Any]
    device: str

    def facts(self) -> dict[str, Any]:
        """Where the truth comes from.

        Returns:
            Data set and split.
        """
        return {"data": str(self.dataset), "split": self.split}


@dataclass(frozen=True)
class Evaluation:
    """The answer to a question.

    Args:
        data: The data set.
        result: The counts.
        source: A record of what made the answers.
        params: Of the CRF, or None.
    """

    data: SegmentationDataset
    result: Result
    source: dict[str, Any]
    params: dict[str, Any] | None


def evaluate_question(
    asked: Question,
    output: Path | None,
    steps: Steps,
    widths: Sequence[int] = (),
    boundary: Literal["void", "edges"] = "void",
    store_scores: Path | None = None,
    write_labels: Path | None = None,
    layout: str = "plain",
) -> Evaluation | None:
    """`evaluate` of what is asked, this process's share under torchrun.

    Args:
        asked: The question.
        output: A folder that makes it resumable.
        steps: What shows how far it is.
        widths: Also count within so many pixels of the boundaries.
        boundary: Where objects end, as for `evaluate`.
        store_scores: A folder for the network's scores.
        write_labels: A folder for the labels.
        layout: Of the labels, as for `LabelFiles`.

    Returns:
        The answer; None where another process tells it.

    Raises:
        ValueError: The question does not fit the data, and as `evaluate`.
    """
    _check_question(asked)
    import torch

    from deeplab_repro.data.sets.datasets import open_dataset
    from deeplab_repro.evaluate.evaluate import evaluate
    from deeplab_repro.evaluate.label_files import LabelFiles
    from deeplab_repro.jobs.ranks import joined

    with joined(torch.device("cpu")) as ranks:
        data = open_dataset(asked.dataset, asked.split, asked.classes, asked.root)
        source, own, facts = _source(data, asked)
        crf = pick_crf(own, asked.crf, asked.preset)
        params = None if crf is None else asdict(crf)
        writer = None if write_labels is None else LabelFiles(write_labels, data, layout)
        for folder in filter(None, (output, store_scores)):
            folder.mkdir(parents=True, exist_ok=True)
        with steps("evaluating") as progress:
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


def _check_question(asked: Question) -> None:
    """Refuse before anything is loaded: no or two things to score, folders that are not there, an unknown preset."""
    model, scores, labels = asked.model, asked.scores, asked.labels
    if sum(source is not None for source in (model, scores, labels)) > 1:
        raise ValueError("--model, --scores and --labels exclude each other")
    if model is None and scores is None and labels is None:
        raise ValueError("nothing to score; give --model (bundled is the demo's), --scores or --labels")
    for folder in (scores, labels):
        if folder is not None and not folder.is_dir():
            raise FileNotFoundError(f"{folder}: no such folder")
    if asked.size is not None and (model is None or asked.cut is not None):
        raise ValueError("--size: is a --model's input size, and goes without --tile")
    if asked.preset is not None:
        from deeplab_repro.crf.presets import find_preset

        find_preset(asked.preset)
    if model is not None:
        from deeplab_repro.predict.opening import check_model

        check_model(model, asked.weights)


def pick_crf(own: CRFParams | None, crf: bool, preset: str | None) -> CRFParams | None:
    """The CRF's parameters: a preset's, else the model's own, else the defaults.

    Args:
        own: The model's.
        crf: Whether a CRF is asked for.
        preset: Published parameters, which ask for one, too.

    Returns:
        The parameters; None where no CRF is asked for.

    Raises:
        ValueError: No preset has that name.
    """
    from deeplab_repro.crf.params import CRFParams

    if preset is not None:
        return CRFParams.preset(preset)
    return (own or CRFParams()) if crf else None


def _source(
    dataset: SegmentationDataset, asked: Question
) -> tuple[Segmenter | Source, CRFParams | None, dict[str, Any]]:
    """What makes the answers, the CRF parameters that ride along with it, and a record of both for resuming."""
    from deeplab_repro.evaluate.evaluate import from_labels, from_scores, from_segmenter

    model, scores, labels = asked.model, asked.scores, asked.labels
    if scores is not None or labels is not None:
        dataset.check_names()
    if scores is not None:
        return from_scores(scores), None, {"scores": str(scores.resolve())}
    if labels is not None:
        return from_labels(labels, dataset), None, {"labels": str(labels.resolve())}
    segmenter = _segmenter(dataset, asked)
    facts = {
        "model": model,
        "weights": asked.weights and str(asked.weights),
        "net": segmenter.fingerprint(),
        "scales": asked.scales,
        "flip": asked.flip,
        "tile": asked.tile,
    }
    if asked.size is not None:
        facts["size"] = asked.size
    return (segmenter if asked.cut is None else from_segmenter(segmenter, *asked.cut)), segmenter.crf, facts


def _segmenter(dataset: SegmentationDataset, asked: Question) -> Segmenter:
    """The model asked for; ValueError where it tells other classes than the data set has."""
    from deeplab_repro.jobs.devices import local_device, pick_device
    from deeplab_repro.predict.segmenter import Segmenter

    assert asked.model is not None  # one of the three is given
    device = local_device(pick_device(asked.device))
    segmenter = Segmenter(
        asked.model,
        asked.weights,
        scales=asked.scales,
        flip=asked.flip,
        input_size=asked.size,
        device=device,
        **asked.net,
    )
    classes = segmenter.net.spec.blobs[segmenter.score_blob][1]
    if classes != dataset.num_classes:
        raise ValueError(
            f"model {asked.model} tells {classes} classes, the data set has {dataset.num_classes}; "
            "choose the model that was trained for it, or give --classes"
        )
    return segmenter
