"""What is taken as asked and most likely meant otherwise: probabilities as logits, images of 0..1."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

__all__ = ["looks_like_probabilities", "looks_like_unit_range", "warn_of_inputs", "warn_of_unit_range"]

# Pixels that are looked at first; an innocent one settles it.
_SAMPLE = 64
_TOLERANCE = 1e-3


def looks_like_probabilities(scores: Tensor) -> bool:
    """Whether scores lie in 0..1 and sum to 1 over the labels at every pixel, as logits hardly ever do.

    Args:
        scores: [L, H, W] or [N, L, H, W], L at least 2.

    Returns:
        Whether they look like probabilities.

    Example:
        >>> import torch
        >>> from deeplab_repro.crf.doubts import looks_like_probabilities
        >>> scores = torch.tensor([[[3.0]], [[-1.0]]])
        >>> looks_like_probabilities(scores), looks_like_probabilities(scores.softmax(0))
        (False, True)
    """
    if scores.dim() < 3 or scores.shape[-3] < 2 or not scores.numel():
        return False
    flat = scores.detach().flatten(-2)
    return all(_sums_to_one(part) for part in (flat[..., :_SAMPLE], flat))


def _sums_to_one(flat: Tensor) -> bool:
    inside = (flat >= 0).all() & (flat <= 1 + _TOLERANCE).all()
    return bool(inside & ((flat.sum(-2) - 1).abs() <= _TOLERANCE).all())


def looks_like_unit_range(image: Tensor) -> bool:
    """Whether the largest of an image's values lies in (0, 1], where 0..255 is meant.

    Args:
        image: Of any shape.

    Returns:
        Whether it does; an image that is all black does not.

    Example:
        >>> import torch
        >>> from deeplab_repro.crf.doubts import looks_like_unit_range
        >>> looks_like_unit_range(torch.rand(4, 4, 3)), looks_like_unit_range(torch.full((4, 4, 3), 9))
        (True, False)
    """
    image = image.detach()
    if not image.numel() or bool(image.reshape(-1)[: 3 * _SAMPLE].amax() > 1):
        return False
    return bool(0 < image.amax() <= 1)


def warn_of_unit_range(image: Tensor, who: str) -> None:
    """Warn of an image of 0..1, in the name of who takes it.

    Args:
        image: Of any shape.
        who: The function or class that the warning names.

    Example:
        >>> import torch, warnings
        >>> from deeplab_repro.crf.doubts import warn_of_unit_range
        >>> with warnings.catch_warnings(record=True) as told:
        ...     warnings.simplefilter("always")
        ...     warn_of_unit_range(torch.full((2, 2, 3), 0.5), "DenseCRF")
        >>> len(told)
        1
    """
    if looks_like_unit_range(image):
        warnings.warn(
            f"{who}: no value of the image exceeds 1; values of 0..255 are expected, multiply those of 0..1 by 255",
            stacklevel=3,
        )


def warn_of_inputs(image: Tensor, scores: Tensor) -> None:
    """Warn of what `DenseCRF` is given: an image of 0..1, and probabilities as scores.

    Nothing is looked at where that would break a CUDA graph or a compiled function.

    Args:
        image: [H, W, 3] or [N, H, W, 3], RGB.
        scores: [L, H, W] or [N, L, H, W].

    Example:
        >>> import torch, warnings
        >>> from deeplab_repro.crf.doubts import warn_of_inputs
        >>> with warnings.catch_warnings(record=True) as told:
        ...     warnings.simplefilter("always")
        ...     warn_of_inputs(torch.full((4, 4, 3), 200), torch.rand(3, 4, 4).softmax(0))
        >>> len(told)
        1
    """
    if torch.compiler.is_compiling() or (scores.is_cuda and torch.cuda.is_current_stream_capturing()):
        return
    warn_of_unit_range(image, "DenseCRF")
    if looks_like_probabilities(scores):
        warnings.warn(
            "DenseCRF: scores sum to 1 at every pixel, so they look like probabilities, and are taken as logits; give "
            "scores=scores_from_probabilities(probabilities)",
            stacklevel=4,
        )
