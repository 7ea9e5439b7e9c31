"""Labels of frequent classes made void at random, for nets whose loss has no class weights, as DeepLab's has none."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deeplab_repro.data.sets.datasets import VOID


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
