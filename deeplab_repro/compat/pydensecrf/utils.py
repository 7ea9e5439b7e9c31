"""pydensecrf's helpers: unaries from labels and probabilities, features of grids in any number of dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from logging import warning
from numbers import Number
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deeplab_repro.crf.doubts import warn_of_unit_range
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
    """Energies of a label map: -log gt_prob for a pixel's label, the others share the rest.

    Args:
        labels: Integers of any shape, N in all.
        n_labels: The number of labels.
        gt_prob: The probability of a pixel's label.
        zero_unsure: Whether 0 is no label but "unknown", uniform over all, and label k is row k - 1.

    Returns:
        Energies float32 [n_labels, N].

    Raises:
        AssertionError: gt_prob lies outside (0, 1).

    Source:
        pydensecrf's utils.py, unary_from_labels.

    Example:
        >>> import numpy as np
        >>> from deeplab_repro.compat.pydensecrf.utils import unary_from_labels
        >>> np.exp(-unary_from_labels(np.array([1, 0]), 2, gt_prob=0.75)).round(2).tolist()
        [[0.75, 0.5], [0.25, 0.5]]
    """
    assert 0 < gt_prob < 1, "`gt_prob must be in (0,1)."
    labels = np.asarray(labels).reshape(-1)
    energies = np.full((n_labels, labels.size), -np.log((1.0 - gt_prob) / (n_labels - 1)), np.float32)
    energies[labels - 1 if zero_unsure else labels, np.arange(labels.size)] = -np.log(gt_prob)
    if zero_unsure:
        energies[:, labels == 0] = -np.log(1.0 / n_labels)
    return energies


def compute_unary(labels: NDArray, M: int, GT_PROB: float = 0.5) -> NDArray[np.float32]:
    """The old name of `unary_from_labels`, with a warning in the log.

    Args:
        labels: As there.
        M: The number of labels.
        GT_PROB: The probability of a pixel's label.

    Returns:
        Energies float32 [M, N].

    Source:
        pydensecrf's utils.py, compute_unary.

    Example:
        >>> import numpy as np
        >>> from deeplab_repro.compat.pydensecrf.utils import compute_unary
        >>> compute_unary(np.array([1, 2, 0]), 2).shape
        (2, 3)
    """
    warning("pydensecrf.compute_unary is deprecated, use unary_from_labels instead.")
    return unary_from_labels(labels, M, GT_PROB)


def unary_from_softmax(sm: NDArray, scale: float | None = None, clip: float | None = 1e-5) -> NDArray[np.float32]:
    """Energies of probabilities: -log sm.

    Args:
        sm: Probabilities [L, ...], N pixels in all.
        scale: s first mixes in the uniform distribution: s sm + (1 - s) / L.
        clip: What smaller probabilities are raised to; None leaves them.

    Returns:
        Energies float32 [L, N].

    Raises:
        AssertionError: The scale lies outside (0, 1].

    Source:
        pydensecrf's utils.py, unary_from_softmax.

    Example:
        >>> import numpy as np
        >>> from deeplab_repro.compat.pydensecrf.utils import unary_from_softmax
        >>> unary_from_softmax(np.array([1.0, 0.0]).reshape(2, 1, 1)).round(1).tolist()
        [[-0.0], [11.5]]
    """
    assert scale is None or 0 < scale <= 1, "`scale` needs to be in (0,1]"
    scores = log_probabilities(np.asarray(sm), clip, None if clip is None else 1.0, scale, dim=0)
    energies = -scores.reshape([sm.shape[0], -1]).astype(np.float32)
    # There a scale brings an array in another order into C order, which `setUnaryEnergy` wants.
    return energies if scale is None else np.ascontiguousarray(energies)


def softmax_to_unary(sm: NDArray, GT_PROB: float = 1) -> NDArray[np.float32]:
    """The old name of `unary_from_softmax`, without clipping and with a warning in the log.

    Args:
        sm: As there.
        GT_PROB: The scale; 1 leaves the probabilities as they are.

    Returns:
        Energies float32 [L, N].

    Source:
        pydensecrf's utils.py, softmax_to_unary.

    Example:
        >>> import numpy as np
        >>> from deeplab_repro.compat.pydensecrf.utils import softmax_to_unary
        >>> softmax_to_unary(np.full((2, 3, 4), 0.5)).shape
        (2, 12)
    """
    warning("pydensecrf.softmax_to_unary is deprecated, use unary_from_softmax instead.")
    return unary_from_softmax(sm, None if GT_PROB == 1 else GT_PROB, clip=None)


def _grid(shape: Sequence[int], sdims: Sequence[float]) -> NDArray[np.float32]:
    """[len(shape), *shape]: each point's indices, first axis first, the first len(sdims) divided."""
    grid = np.array(np.meshgrid(*(range(size) for size in shape), indexing="ij"), np.float32)
    for axis, std in enumerate(sdims):
        grid[axis] /= std
    return grid


def create_pairwise_gaussian(sdims: Sequence[float], shape: Sequence[int]) -> NDArray[np.float32]:
    """Features for `addPairwiseEnergy`: the indices of a grid, divided by the standard deviation of their axis.

    Args:
        sdims: One standard deviation in elements per axis.
        shape: The grid's size along its D axes, N elements in all.

    Returns:
        Features float32 [D, N].

    Source:
        pydensecrf's utils.py, create_pairwise_gaussian.

    Example:
        >>> from deeplab_repro.compat.pydensecrf.utils import create_pairwise_gaussian
        >>> create_pairwise_gaussian((2, 1), (2, 2)).tolist()
        [[0.0, 0.0, 0.5, 0.5], [0.0, 1.0, 0.0, 1.0]]
    """
    return _grid(shape, sdims).reshape([len(sdims), -1])


def create_pairwise_bilateral(sdims: Sequence[float], schan: Any, img: NDArray, chdim: int = -1) -> NDArray[np.float32]:
    """Features for `addPairwiseEnergy`: the indices of an image's grid, then the values of its channels.

    Args:
        sdims: One standard deviation in elements per axis; it divides the indices.
        schan: The standard deviation of the channels, one number or one each; it divides their values.
        img: The image, its channels along `chdim`, D other axes and N elements.
        chdim: The axis of the C channels; -1 for an image that has only one and no axis for it.

    Returns:
        Features float32 [D + C, N].

    Source:
        pydensecrf's utils.py, create_pairwise_bilateral.

    Example:
        >>> import numpy as np
        >>> from deeplab_repro.compat.pydensecrf.utils import create_pairwise_bilateral
        >>> create_pairwise_bilateral((9, 9), 13, np.zeros((4, 5, 3), np.uint8), chdim=2).shape
        (5, 20)
    """
    channels = img[np.newaxis] if chdim == -1 else np.rollaxis(img, chdim)
    # A reach below 1 is meant for such an image.
    if np.issubdtype(np.asarray(img).dtype, np.floating) and np.max(schan, initial=0) > 1:
        warn_of_unit_range(torch.as_tensor(np.ascontiguousarray(img)), "create_pairwise_bilateral")
    channels = channels.astype(np.float32)
    if isinstance(schan, Number):
        channels /= schan
    else:
        for channel, std in enumerate(schan):
            channels[channel] /= std
    features = np.concatenate([_grid(channels.shape[1:], sdims), channels])
    return features.reshape([features.shape[0], -1])
