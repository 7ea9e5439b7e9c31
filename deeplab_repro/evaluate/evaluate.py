"""Scores of a segmenter on a data set: confusion matrices over all of it and in trimap bands, before and after the CRF.

Counts are integers, image by image, so that any split of the images over processes gives the same sums; every image's
are noted in a folder where asked, so that an interrupted evaluation goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from deeplab_repro.crf.model import CRFParams, DenseCRF
from deeplab_repro.crf.unary import scores_from_file
from deeplab_repro.data.sets.datasets import Sample, SegmentationDataset
from deeplab_repro.evaluate.label_files import LabelFiles
from deeplab_repro.evaluate.metrics import Absent, ConfusionMatrix, label_edges, trimap_width
from deeplab_repro.files.arrays import write_npy
from deeplab_repro.files.images import read_label_map
from deeplab_repro.files.ledger import CountedImages, check_origin, fingerprint
from deeplab_repro.jobs.ranks import Ranks
from deeplab_repro.predict.segmenter import Segmenter
from deeplab_repro.predict.tiles import tiled_scores

Counts = NDArray[np.int64]
# What an image is turned into: scores float [L, H, W], or labels, integers [H, W].
Source = Callable[[Sample, NDArray[np.uint8]], NDArray[Any]]


@dataclass(frozen=True)
class Stored:
    """A source whose answers lie in files, one for each image."""

    file: Callable[[Sample], Path]
    read: Callable[[Path, NDArray[np.uint8]], NDArray[Any]]

    def __call__(self, sample: Sample, image: NDArray[np.uint8]) -> NDArray[Any]:
        """The answer that the sample's file holds, for an image of this size."""
        return self.read(self.file(sample), image)


# Stages of an answer, in this order.
NETWORK, REFINED = "network", "crf"
STAGE_LABELS = {NETWORK: "without CRF", REFINED: "with CRF"}
# Absent classes: the rule's name for people, and what `ConfusionMatrix` calls it.
ABSENT_RULES: dict[str, Absent] = {"devkit": "zero", "drop": "nan", "segaccuracy": "one"}


@dataclass(frozen=True)
class Result:
    """counts: by stage ("network", "crf") int64 [1 + W, C, C + 1]: over all pixels, then in each trimap band; rows
    truth, columns prediction, the last column predictions that are no class. images: how many were counted."""

    class_names: tuple[str, ...]
    images: int
    widths: tuple[int, ...]
    counts: Mapping[str, Counts]

    @property
    def confusion(self) -> ConfusionMatrix:
        """Over all pixels, after the CRF where there was one."""
        return self.stage(list(self.counts)[-1])

    def stage(self, name: str) -> ConfusionMatrix:
        """Over all pixels, "network" or "crf"."""
        return matrix_of(self.counts[name][0])

    def trimap(self, name: str) -> list[ConfusionMatrix]:
        """Within each width of `widths` of the boundaries."""
        return [matrix_of(band) for band in self.counts[name][1:]]

    @property
    def has_bands(self) -> bool:
        """Whether some band holds a labelled pixel: many sets have no void outlines."""
        return any(counts[1:].any() for counts in self.counts.values())

    def trimap_curves(self) -> dict[str, list[dict[str, float]]]:
        """By stage, for each width: mean IoU of the classes that occur there in any stage, pixel and mean accuracy,
        0..1."""
        bands = {name: self.trimap(name) for name in self.counts}
        among = [_in_any(matrices) for matrices in zip(*bands.values(), strict=True)]
        return {
            name: [
                {
                    "miou": band.miou("nan", occurring),
                    "pixel_accuracy": band.pixel_accuracy(),
                    "mean_accuracy": band.mean_accuracy(),
                }
                for band, occurring in zip(matrices, among, strict=True)
            ]
            for name, matrices in bands.items()
        }

    def summary(self, absent: Absent = "zero") -> dict[str, Any]:
        """The usual figures of each stage, 0..1; `absent` is what a class without a union gets.

        A class that occurs in any stage counts in all, so that before and after the CRF are means of the same."""
        stages = {name: self.stage(name) for name in self.counts}
        among = _in_any(list(stages.values()))
        return {name: figures(matrix, self.class_names, absent, among) for name, matrix in stages.items()}


def _in_any(matrices: Sequence[ConfusionMatrix]) -> NDArray[np.bool_]:
    """Classes that occur in truth or in the answer of any of the matrices."""
    return np.logical_or.reduce([matrix.present() for matrix in matrices])


def matrix_of(counts: Counts) -> ConfusionMatrix:
    """A confusion matrix from counts [C, C + 1]."""
    matrix = ConfusionMatrix(len(counts))
    matrix.matrix, matrix.missed = counts[:, :-1].copy(), counts[:, -1].copy()
    return matrix


def figures(
    matrix: ConfusionMatrix, class_names: Sequence[str], absent: Absent, among: NDArray[np.bool_] | None = None
) -> dict[str, Any]:
    """Pixel accuracy, mean accuracy, mean IoU, frequency-weighted IoU and IoU by class."""
    return {
        "pixel_accuracy": matrix.pixel_accuracy(),
        "mean_accuracy": matrix.mean_accuracy(),
        "miou": matrix.miou(absent, among),
        "fwiou": matrix.fwiou(),
        "per_class": dict(zip(class_names, matrix.per_class(absent, among).tolist(), strict=True)),
    }


def evaluate(
    segmenter: Segmenter | Source,
    dataset: SegmentationDataset,
    crf: CRFParams | None = None,
    trimap_widths: Iterable[int] = (),
    ranks: Ranks = Ranks(),
    *,
    boundary: Literal["void", "edges"] = "void",
    resume: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    store_scores: Path | None = None,
    write_labels: LabelFiles | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Result:
    """Score every image of a data set.

    Args:
        segmenter: A Segmenter (its own CRF is left aside), or a function from sample and RGB image to scores or labels.
        dataset: The data set.
        crf: Refine scores by it, and count both answers.
        trimap_widths: Also count within so many pixels of the boundaries.
        ranks: This process among those of the job, each of which takes every world-th image; the counts are summed over
            them and are the same on every rank.
        boundary: Where boundaries are taken from: "void" pixels, as VOC draws them, or "edges", where labels change.
        resume: A folder that notes each finished image; one whose files changed since, or that lacks a file asked for,
            is counted anew.
        settings: What the counts in that folder depend on; they may not change (`Segmenter.fingerprint` tells other
            weights apart).
        store_scores: A folder for ID.npy, the network's scores.
        write_labels: Where each image's final labels go. With either, images without a truth are answered, too, and
            count nothing.
        progress: Told how many images are done, and of how many.

    Returns:
        The counts.

    Raises:
        ValueError: Something does not fit; the message names image or label file. Errors of the segmenter pass.
        LostRank: A process is gone.
        OSError: A file cannot be read or written.
    """
    widths = tuple(sorted(set(trimap_widths)))
    if widths and widths[0] < 0:
        raise ValueError(f"trimap widths must be 0 or more, got {widths[0]}")
    if resume is not None or store_scores is not None or write_labels is not None:
        dataset.check_names()
    source = from_segmenter(segmenter) if isinstance(segmenter, Segmenter) else segmenter
    stages = (NETWORK,) if crf is None else (NETWORK, REFINED)
    shape = (len(stages), 1 + len(widths), dataset.num_classes, dataset.num_classes + 1)
    noted = None
    if resume is not None:
        # On every rank: one that does not know of other settings would add its counts to theirs.
        facts = {"stages": stages, "trimap": widths, "boundary": boundary, "classes": dataset.num_classes}
        check_origin(resume / "settings.json", {**facts, **(settings or {})})
        noted = CountedImages(resume, ranks.rank, shape)
    device = segmenter.device if isinstance(segmenter, Segmenter) else torch.device("cpu")
    total = np.zeros(shape, np.int64)
    own = dataset.samples[ranks.rank :: ranks.world]
    for done, sample in enumerate(own):
        outputs = [] if store_scores is None else [_scores_file(store_scores, sample)]
        outputs += [] if write_labels is None else [write_labels.file(sample)]
        files = "" if noted is None else _fingerprint(sample, source)
        counts = None
        if noted is not None and all(file.is_file() for file in outputs):
            counts = noted.known(sample.name, files)
        if counts is None:
            image = dataset.image(sample)
            truth = dataset.truth(sample) if sample.label is not None or not outputs else None
            answers = _answers(source, sample, image, crf, device, store_scores)
            if truth is None:
                counts = np.zeros(shape, np.int64)
            else:
                counts = np.stack([count(labels, truth, dataset, widths, boundary, sample) for labels in answers])
            if write_labels is not None:
                write_labels.write(sample, answers[-1])
            if noted is not None:
                noted.add(sample.name, files, counts)
        total += counts
        progress(done + 1, len(own))
    total = ranks.total(torch.from_numpy(total)).numpy()
    return Result(dataset.class_names, len(dataset), widths, dict(zip(stages, total, strict=True)))


def _scores_file(folder: Path, sample: Sample) -> Path:
    return folder / f"{sample.name}.npy"


def _fingerprint(sample: Sample, source: Source) -> str:
    """Of the files that an image's counts come from."""
    answers = (source.file(sample),) if isinstance(source, Stored) else ()
    return fingerprint(sample.image, *filter(None, (sample.label,)), *answers)


def _answers(
    source: Source,
    sample: Sample,
    image: NDArray[np.uint8],
    crf: CRFParams | None,
    device: torch.device,
    store: Path | None,
) -> list[NDArray[Any]]:
    """Labels [H, W] of the network and, where asked, of the CRF."""
    answer = source(sample, image)
    if answer.shape[-2:] != image.shape[:2]:
        size = "{} x {}".format(*answer.shape[-2:])
        raise ValueError(f"{sample.image}: the answer has {size} pixels, the image {image.shape[0]} x {image.shape[1]}")
    if answer.ndim == 2:
        if crf is not None or store is not None:
            raise ValueError("labels alone have no scores to refine or to store; give scores or a model")
        return [answer]
    if store is not None:
        write_npy(answer, _scores_file(store, sample))
    labels = [answer.argmax(0)]
    if crf is not None:
        with torch.no_grad():
            refined = DenseCRF(crf)(torch.from_numpy(image).to(device), torch.from_numpy(answer).to(device))
        labels.append(refined.argmax(0).cpu().numpy())
    return labels


def count(
    labels: NDArray[Any],
    truth: NDArray[np.uint8],
    dataset: SegmentationDataset,
    widths: Sequence[int] = (),
    boundary: Literal["void", "edges"] = "void",
    sample: Sample | None = None,
) -> Counts:
    """Count one image.

    Args:
        labels: The answer [H, W].
        truth: The true labels [H, W].
        dataset: The set that both are of.
        widths: W widths of trimap bands in pixels, ascending.
        boundary: As of `evaluate`.
        sample: The image, for errors.

    Returns:
        Counts int64 [1 + W, C, C + 1], as `Result` has them.

    Raises:
        ValueError: The maps differ in size.
    """
    if labels.shape != truth.shape:
        where = "" if sample is None else f"{sample.label}: "
        raise ValueError(f"{where}truth has {truth.shape[0]} x {truth.shape[1]} pixels, the answer {labels.shape}")
    rings = [_count(labels, truth, dataset)]
    if widths:
        lines = np.isin(truth, dataset.void) if boundary == "void" else label_edges(truth)
        nearness = trimap_width(truth, lines)
        last = -1.0
        for width in widths:
            ring = (nearness <= width) & (nearness > last)
            rings.append(_count(labels[ring], truth[ring], dataset))
            last = float(width)
        # Bands contain those before them.
        rings[1:] = list(np.cumsum(rings[1:], axis=0))
    return np.stack(rings)


def _count(labels: NDArray[Any], truth: NDArray[np.uint8], dataset: SegmentationDataset) -> Counts:
    matrix = ConfusionMatrix(dataset.num_classes, dataset.void)
    matrix.update(labels, truth)
    return np.concatenate([matrix.matrix, matrix.missed[:, None]], axis=1)


def from_segmenter(
    segmenter: Segmenter, tile: tuple[int, int] | None = None, overlap: tuple[int, int] = (0, 0)
) -> Source:
    """Scores by a segmenter, without its CRF.

    Args:
        segmenter: The segmenter.
        tile: (height, width) of tiles; None for whole images.
        overlap: Rows and columns that neighbouring tiles share.

    Returns:
        A function of a sample and its image.
    """

    def scores(sample: Sample, image: NDArray[np.uint8]) -> NDArray[Any]:
        if tile is not None:
            return tiled_scores(segmenter, image, tile, overlap)
        return segmenter.scores(image)

    return scores


def from_scores(folder: Path, probabilities: bool | None = None) -> Stored:
    """Scores stored as ID.npy, .npz, .mat, .bin or ID_blob_0.mat; the part beyond an image in a .mat is cut off.

    Args:
        folder: Where they are.
        probabilities: Whether they are; None to go by the file.

    Returns:
        What reads them.

    Raises:
        ValueError: The folder holds none, or two files for one image.
    """
    from deeplab_repro.evaluate.refine import scores_by_id
    from deeplab_repro.files.arrays import read_scores

    files = scores_by_id(folder)

    def file(sample: Sample) -> Path:
        if sample.name not in files:
            raise ValueError(f"{folder}: no scores of {sample.name}")
        return files[sample.name]

    return Stored(
        file, lambda path, image: scores_from_file(read_scores(path, probabilities).cropped(*image.shape[:2]))
    )


def from_labels(folder: Path, dataset: SegmentationDataset) -> Stored:
    """Labels stored as ID.png, numbered as the data set's own files are."""

    def read(path: Path, image: NDArray[np.uint8]) -> NDArray[Any]:
        labels = read_label_map(path)
        return labels if dataset.from_file is None else dataset.from_file[labels]

    return Stored(lambda sample: folder / f"{sample.name}.png", read)
