"""Scores for the dense CRF from what is at hand: probabilities, labels or score files. Logits are scores already.

The unary energy is -scores. Source of the choices: pydensecrf's unaries and the original densecrf programs.
"""

from __future__ import annotations

from math import log
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeplab_repro.files.arrays import Scores

__all__ = ["log_probabilities", "scores_from_file", "scores_from_labels", "scores_from_probabilities"]

_Values = TypeVar("_Values", Tensor, NDArray)


def log_probabilities(
    probabilities: _Values,
    least: float | np.floating | None = None,
    most: float | None = None,
    certainty: float | None = None,
    dim: int = -3,
) -> _Values:
    """log p of a tensor or an array as it is, unchecked; every score made of probabilities is made here.

    Args:
        probabilities: Floating point, labels along `dim`.
        least: What smaller probabilities are raised to.
        most: What larger ones are lowered to.
        certainty: c mixes in the uniform distribution first: c p + (1 - c) / L. With an array the mixture is in
            float64, as pydensecrf computes.
        dim: The axis of the labels.

    Returns:
        Scores of the probabilities' shape and kind.

    Source:
        pydensecrf's utils.py, unary_from_softmax.

    Example:
        >>> import numpy as np
        >>> from deeplab_repro.crf.unary import log_probabilities
        >>> log_probabilities(np.array([1.0, 0.0]), least=1e-5).round(1).tolist()
        [0.0, -11.5]
    """
    if certainty is not None:
        labels = probabilities.shape[dim]
        if isinstance(probabilities, Tensor):
            probabilities = certainty * probabilities + (1 - certainty) / labels
        else:
            uniform = np.full([1] * probabilities.ndim, 1 / labels)
            probabilities = certainty * probabilities + (1 - certainty) * uniform
    if least is not None or most is not None:
        probabilities = probabilities.clip(least, most)  # type: ignore[arg-type]  # numpy takes None, too
    return probabilities.log() if isinstance(probabilities, Tensor) else np.log(probabilities)


def scores_from_probabilities(
    probabilities: Tensor, clip: float | None = None, certainty: float | None = None, dim: int = -3
) -> Tensor:
    """Scores of probabilities: log p.

    Args:
        probabilities: Floating point [L, H, W] or [N, L, H, W], values 0..1.
        clip: What smaller probabilities are raised to (pydensecrf's unary uses 1e-5, which caps energies at 11.5);
            without, a probability of 0 gives -inf, a label that is never chosen, as in DeepLab's program.
        certainty: c first mixes in the uniform distribution: c p + (1 - c) / L.
        dim: The axis of the labels.

    Returns:
        Scores of the probabilities' shape and dtype.

    Raises:
        ValueError: Values outside 0..1 or of no floating dtype, a certainty outside (0, 1] or a clip outside [0, 1].

    Example:
        >>> import torch
        >>> from deeplab_repro.crf.unary import scores_from_probabilities
        >>> scores_from_probabilities(torch.tensor([1.0, 0.0]).reshape(2, 1, 1), clip=1e-5).flatten()
        tensor([  0.0000, -11.5129])
    """
    if not probabilities.is_floating_point():
        raise ValueError(f"scores_from_probabilities: must be floating point, got {probabilities.dtype}")
    if probabilities.numel() and not bool(((probabilities >= 0) & (probabilities <= 1.001)).all()):
        raise ValueError("scores_from_probabilities: probabilities must lie in 0..1; are they logits?")
    if certainty is not None and not 0 < certainty <= 1:
        raise ValueError(f"scores_from_probabilities: certainty must lie in (0, 1], got {certainty}")
    if clip is not None and not 0 <= clip <= 1:
        raise ValueError(f"scores_from_probabilities: clip must lie in [0, 1], got {clip}")
    return log_probabilities(probabilities, clip, None if clip is None else 1, certainty, dim)


def scores_from_file(scores: Scores) -> NDArray[np.float32]:
    """The scores that a file holds, or the log of them where these are probabilities.

    Probability 0 becomes the log of the smallest normal float32, which no pairwise term outweighs.

    Args:
        scores: A file's values [L, H, W], as `files.arrays` reads them.

    Returns:
        Scores float32 [L, H, W].

    Example:
        >>> import numpy as np
        >>> from deeplab_repro.crf.unary import scores_from_file
        >>> from deeplab_repro.files.arrays import Scores
        >>> certain = np.array([1, 0], np.float32).reshape(2, 1, 1)
        >>> scores_from_file(Scores(certain, True, "p.npy")).ravel().round().tolist()
        [0.0, -87.0]
    """
    if not scores.probabilities:
        return np.ascontiguousarray(scores.values)
    return log_probabilities(scores.values, least=np.finfo(np.float32).tiny)


def scores_from_labels(
    labels: Tensor, num_labels: int, certainty: float = 0.5, unknown: int | None = None, dtype=torch.float32
) -> Tensor:
    """Scores of a label map: a pixel's label gets log `certainty`, the others share the rest.

    Args:
        labels: Integers [H, W] or [N, H, W].
        num_labels: The number L of labels, at least 2.
        certainty: The probability of a pixel's label, between 0 and 1.
        unknown: The label of pixels where all labels get log 1 / L, as 255 in VOC.
        dtype: The scores' floating dtype.

    Returns:
        Scores [L, H, W] or [N, L, H, W].

    Raises:
        ValueError: Labels are neither 0..L-1 nor unknown, the certainty lies outside (0, 1), or there are fewer than
            two labels.

    Example:
        >>> import torch
        >>> from deeplab_repro.crf.unary import scores_from_labels
        >>> scores_from_labels(torch.tensor([[1, 255]]), 2, certainty=0.9, unknown=255).exp()
        tensor([[[0.1000, 0.5000]],
                [[0.9000, 0.5000]]])
    """
    if labels.is_floating_point() or labels.dtype == torch.bool or labels.dim() not in (2, 3):
        raise ValueError(
            f"scores_from_labels: labels must be integers [H, W] or [N, H, W], got {labels.dtype} {list(labels.shape)}"
        )
    if not 0 < certainty < 1:
        raise ValueError(f"scores_from_labels: certainty must lie in (0, 1), got {certainty}")
    if num_labels < 2:
        raise ValueError(f"scores_from_labels: num_labels must be 2 or more, got {num_labels}")
    labels = labels.to(torch.int64)
    unsure = torch.zeros_like(labels, dtype=torch.bool) if unknown is None else labels == unknown
    wrong = labels[~unsure & ((labels < 0) | (labels >= num_labels))]
    if len(wrong):
        raise ValueError(f"scores_from_labels: label {int(wrong[0])} is none of 0..{num_labels - 1}")
    labels, unsure = labels.unsqueeze(-3), unsure.unsqueeze(-3)
    shape = list(labels.shape)
    shape[-3] = num_labels
    scores = torch.full(shape, log((1 - certainty) / (num_labels - 1)), dtype=dtype, device=labels.device)
    scores.scatter_(-3, labels.masked_fill(unsure, 0), log(certainty))
    return scores.masked_fill(unsure, -log(num_labels))
