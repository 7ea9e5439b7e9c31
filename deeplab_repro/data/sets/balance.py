"""Labels of frequent classes made void at random, for nets whose loss has no class weights, as DeepLab's has none."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deeplab_repro.data.sets.datasets import VOID


def kept_shares(pixels: ArrayLike, power: float) -> NDArray[np.float64]:
    """Which share of each class's pixels keep their label, float64 [L], 1 for the rarest class.

    pixels: how many each class has, [L], of which those of a class of share f then weigh f ** -power in the loss, as
    against each other. A class without any counts as one with a single pixel. Raises ValueError for a negative number
    of pixels or a negative power."""
    counts = np.asarray(pixels)
    if power < 0 or (counts < 0).any():
        raise ValueError(f"kept_shares: pixels and power must not be negative, got {counts.tolist()} and {power}")
    weights = np.maximum(counts, 1) ** -float(power)
    return weights / weights.max(initial=0)


def voided(labels: NDArray[np.uint8], kept: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.uint8]:
    """labels uint8 [H, W] of which class i keeps its label with probability kept[i]; the others become 255."""
    shares = np.ones(256)
    shares[: len(kept)] = kept
    return np.where(rng.random(labels.shape) >= shares[labels], np.uint8(VOID), labels)
