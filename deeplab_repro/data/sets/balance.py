"""Labels of frequent classes made void at random, for nets whose loss has no class weights, as DeepLab's has none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deeplab_repro.data.sets.datasets import VOID, SegmentationDataset
from deeplab_repro.files.atomic import write_text
from deeplab_repro.files.palette import save_label_png


def kept_shares(pixels: ArrayLike, power: float) -> NDArray[np.float64]:
    """Which share of each class's pixels keep their label, 1 for the rarest class.

    Args:
        pixels: How many each class has, [L]. A class without any counts as one with a single pixel.
        power: Pixels of a class of share f then weigh f ** -power in the loss, as against each other.

    Returns:
        Shares, float64 [L].

    Raises:
        ValueError: A number of pixels or the power is negative.

    Example:
        >>> from deeplab_repro.data.sets.balance import kept_shares
        >>> kept_shares([400, 100], power=0.5).tolist()
        [0.5, 1.0]
    """
    counts = np.asarray(pixels)
    if power < 0 or (counts < 0).any():
        raise ValueError(f"kept_shares: pixels and power must not be negative, got {counts.tolist()} and {power}")
    weights = np.maximum(counts, 1) ** -float(power)
    return weights / weights.max(initial=0)


def voided(labels: NDArray[np.uint8], kept: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Make labels void at random.

    Args:
        labels: uint8 [H, W].
        kept: With which probability a pixel of each class keeps its label, [L].
        rng: What draws.

    Returns:
        The labels, uint8 [H, W], 255 where they were not kept.
    """
    shares = np.ones(256)
    shares[: len(kept)] = kept
    return np.where(rng.random(labels.shape) >= shares[labels], np.uint8(VOID), labels)


def write_list(folder: Path, data: SegmentationDataset, power: float = 0, seed: int = 0) -> Path:
    """Write the list of a data set's photographs and label maps that `deeplab train` reads.

    Args:
        folder: Gets train.txt, and labels/ where the power asks for other labels.
        data: The photographs.
        power: As for `kept_shares`; 0 leaves the labels as they are.
        seed: Of what is drawn; equal seeds write equal labels.

    Returns:
        The list's path.
    """
    if power > 0:
        labels = _write_voided(folder / "labels", data, power, seed)
    else:
        labels = [item.label for item in data.samples if item.label is not None]
    pairs = zip(data.samples, labels, strict=True)
    lines = (f"{item.image.resolve()} {label.resolve()}\n" for item, label in pairs)
    path = folder / "train.txt"
    write_text(path, "".join(lines))
    return path


def _write_voided(folder: Path, data: SegmentationDataset, power: float, seed: int) -> list[Path]:
    """The label maps, each drawn by itself, so that a map does not depend on the others."""
    folder.mkdir(exist_ok=True)
    truths = [data.truth(item) for item in data.samples]
    counts = np.sum([np.bincount(truth.ravel(), minlength=256) for truth in truths], axis=0)
    kept = kept_shares(counts[: data.num_classes], power)
    labels = [folder / f"{item.name}.png" for item in data.samples]
    for number, (truth, label) in enumerate(zip(truths, labels, strict=True)):
        rng = np.random.Generator(np.random.PCG64([seed, number]))
        save_label_png(voided(truth, kept, rng), label, data.palette)
    return labels
