"""pydensecrf's helpers: unaries from labels and probabilities, features of grids in any number of dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from logging import warning
from numbers import Number
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeplab_repro.crf.unary import log_probabilities

__all__ = [
    "compute_unary",
    "create_pairwise_bilateral",
    "create_pairwise_gaussian",
    "softmax_to_unary",
    "unary_from_labels",
    "unary_from_softmax",
]


def unary_from_labels(labels: NDArray, n_labels: int, gt_prob: float, zero_unsure: bool = True) -> NDArray[np.float32]:
    """Energies [n_labels, N] of a label map: -log gt_prob for the label, the others share the rest.

    zero_unsure: 0 is no label but "unknown", uniform over all, and label k is row k - 1.
    Raises AssertionError unless 0 < gt_prob < 1.
    """
    assert 0 < gt_prob < 1, "`gt_prob must be in (0,1)."
    labels = np.asarray(labels).reshape(-1)
    energies = np.full((n_labels, labels.size), -np.log((1.0 - gt_prob) / (n_labels - 1)), np.float32)
    energies[labels - 1 if zero_unsure else labels, np.arange(labels.size)] = -np.log(gt_prob)
    if zero_unsure:
        energies[:, labels == 0] = -np.log(1.0 / n_labels)
    return energies


def compute_unary(labels: NDArray, M: int, GT_PROB: float = 0.5) -> NDArray[np.float32]:
    """The old name of `unary_from_labels`."""
    warning("pydensecrf.compute_unary is deprecated, use unary_from_labels instead.")
    return unary_from_labels(labels, M, GT_PROB)


def unary_from_softmax(sm: NDArray, scale: float | None = None, clip: float | None = 1e-5) -> NDArray[np.float32]:
    """Energies -log sm [L, N] of probabilities sm [L, ...].

    scale s first mixes in the uniform distribution: s sm + (1 - s) / L; clip raises smaller probabilities to it.
    Raises AssertionError unless 0 < scale <= 1.
    """
    assert scale is None or 0 < scale <= 1, "`scale` needs to be in (0,1]"
    scores = log_probabilities(np.asarray(sm), clip, None if clip is None else 1.0, scale, dim=0)
    return -scores.reshape([sm.shape[0], -1]).astype(np.float32)


def softmax_to_unary(sm: NDArray, GT_PROB: float = 1) -> NDArray[np.float32]:
    """The old name of `unary_from_softmax`, without clipping."""
    warning("pydensecrf.softmax_to_unary is deprecated, use unary_from_softmax instead.")
    return unary_from_softmax(sm, None if GT_PROB == 1 else GT_PROB, clip=None)


def _grid(shape: Sequence[int], sdims: Sequence[float]) -> NDArray[np.float32]:
    """[len(shape), *shape]: each point's indices, first axis first, the first len(sdims) divided."""
    grid = np.array(np.meshgrid(*(range(size) for size in shape), indexing="ij"), np.float32)
    for axis, std in enumerate(sdims):
        grid[axis] /= std
    return grid


def create_pairwise_gaussian(sdims: Sequence[float], shape: Sequence[int]) -> NDArray[np.float32]:
    """Features [D, N] for `addPairwiseEnergy`: indices of a grid, divided by the standard deviation of their axis."""
    return _grid(shape, sdims).reshape([len(sdims), -1])


def create_pairwise_bilateral(sdims: Sequence[float], schan: Any, img: NDArray, chdim: int = -1) -> NDArray[np.float32]:
    """Features [D + C, N]: indices divided by sdims, then the channels of img divided by schan (one number or C).

    chdim: the axis of the channels; -1 for an image that has only one and no axis for it.
    """
    channels = img[np.newaxis] if chdim == -1 else np.rollaxis(img, chdim)
    channels = channels.astype(np.float32)
    if isinstance(schan, Number):
        channels /= schan
    else:
        for channel, std in enumerate(schan):
            channels[channel] /= std
    features = np.concatenate([_grid(channels.shape[1:], sdims), channels])
    return features.reshape([features.shape[0], -1])
