"""Segmentation scores from a confusion matrix."""

from __future__ import annotations

from typing import Literal, cast

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Absent = Literal["zero", "nan", "one"]


class ConfusionMatrix:
    """Counts of pixels by true and predicted class.

    `matrix` is int64 [num_classes, num_classes], rows truth, columns prediction. A prediction that is no class counts
    as wrong: `missed` [num_classes] holds such pixels by true class, and they stay in that class's union, as in the VOC
    development kit.

    Args:
        num_classes: The number of classes, counted from 0.
        ignore_index: The value of truth, or several, whose pixels are left out.

    Raises:
        ValueError: There is no class.

    Source:
        The VOC development kit's VOCevalseg.m.

    Example:
        >>> from deeplab_repro import ConfusionMatrix
        >>> matrix = ConfusionMatrix(2)
        >>> matrix.update(pred=[0, 0, 1, 1], truth=[0, 1, 1, 255])
        >>> matrix.per_class().tolist(), matrix.miou()
        ([0.5, 0.5], 0.5)
    """

    def __init__(self, num_classes: int, ignore_index: int | tuple[int, ...] = 255) -> None:
        if num_classes < 1:
            raise ValueError(f"ConfusionMatrix: num_classes must be at least 1, got {num_classes}")
        self.num_classes = num_classes
        self.ignored = (ignore_index,) if isinstance(ignore_index, int) else tuple(ignore_index)
        self.matrix: NDArray[np.int64] = np.zeros((num_classes, num_classes), np.int64)
        self.missed: NDArray[np.int64] = np.zeros(num_classes, np.int64)

    def update(self, pred: ArrayLike, truth: ArrayLike) -> None:
        """Add label maps.

        Args:
            pred: Predicted labels, integers of any number of axes.
            truth: True labels, integers of the same shape.

        Raises:
            ValueError: The shapes differ, or truth holds a value that is neither a class nor ignored.
        """
        predicted, true = np.asarray(pred), np.asarray(truth)
        if predicted.shape != true.shape:
            raise ValueError(f"ConfusionMatrix: pred {list(predicted.shape)} and truth {list(true.shape)} differ")
        for name, values in (("pred", predicted), ("truth", true)):
            if not (np.issubdtype(values.dtype, np.integer) or values.size == 0):
                raise ValueError(f"ConfusionMatrix: {name} must hold integers, got {values.dtype}")
        kept = ~np.isin(true, self.ignored)
        predicted, true = predicted[kept].astype(np.int64), true[kept].astype(np.int64)
        if true.size and not (true.min() >= 0 and true.max() < self.num_classes):
            worst = int(true.max()) if true.max() >= self.num_classes else int(true.min())
            raise ValueError(
                f"ConfusionMatrix: truth holds {worst}, neither a class (0 to {self.num_classes - 1}) nor ignored "
                f"({', '.join(map(str, self.ignored))})"
            )
        known = (predicted >= 0) & (predicted < self.num_classes)
        cells = np.bincount(true[known] * self.num_classes + predicted[known], minlength=self.num_classes**2)
        self.matrix += cells.reshape(self.num_classes, self.num_classes)
        self.missed += np.bincount(true[~known], minlength=self.num_classes)

    def present(self) -> NDArray[np.bool_]:
        """Which classes occur, in truth or prediction.

        Returns:
            bool [num_classes].
        """
        return self._true() + self.matrix.sum(0) > 0

    def per_class(self, absent: Absent = "nan", among: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
        """Intersection over union of each class.

        Args:
            absent: What a class in neither truth nor prediction, which has no union, gets: "nan", "zero" or "one".
            among: Classes [num_classes] that count as occurring whatever this matrix holds: 0 where they would be NaN.
                Answers that are compared then have means over the same classes.

        Returns:
            float64 [num_classes], 0 to 1.
        """
        hits, union = np.diag(self.matrix), self._true() + self.matrix.sum(0) - np.diag(self.matrix)
        shares = _divide(hits, union, _ABSENT[absent])
        return shares if among is None else np.where(among & np.isnan(shares), 0.0, shares)

    def miou(self, absent: Absent = "nan", among: NDArray[np.bool_] | None = None) -> float:
        """Mean intersection over union.

        Args:
            absent: "nan" for the mean of the classes that occur (NaN if none does); "zero" or "one" for that of all,
                absent ones counted as that.
            among: As of `per_class`.

        Returns:
            The mean, 0 to 1.
        """
        return _mean(self.per_class(absent, among))

    def pixel_accuracy(self) -> float:
        """Share of pixels labelled right.

        Returns:
            The share, 0 to 1; NaN without pixels.
        """
        return float(_divide(np.trace(self.matrix), self._true().sum(), np.nan))

    def mean_accuracy(self) -> float:
        """Mean over the classes in truth of the share of their pixels labelled right.

        Returns:
            The mean, 0 to 1; NaN without pixels.
        """
        return _mean(_divide(np.diag(self.matrix), self._true(), np.nan))

    def fwiou(self) -> float:
        """Intersection over union of the classes weighted by their share of truth.

        Returns:
            The mean, 0 to 1; NaN without pixels.
        """
        share = _divide(self._true(), self._true().sum(), np.nan)
        return float((share * self.per_class("zero")).sum())

    def _true(self) -> NDArray[np.int64]:
        return self.matrix.sum(1) + self.missed


def trimap_band(truth: ArrayLike, width: int, ignore_index: int = 255) -> NDArray[np.bool_]:
    """Where a label map is at most `width` pixels, along rows and columns, from an ignored pixel.

    VOC draws objects' outlines as ignored pixels, so this is the band around them in which boundaries are scored.

    Args:
        truth: Labels [H, W].
        width: Pixels, 0 or more.
        ignore_index: The ignored label.

    Returns:
        bool [H, W].

    Raises:
        ValueError: The labels are not [H, W], or the width is negative.

    Source:
        Kohli et al. 2009; the square and the widths 1..40 are those of DeepLab's trimap script.
    """
    ignored = np.asarray(truth) == ignore_index
    if ignored.ndim != 2:
        raise ValueError(f"trimap_band: truth must be [H, W], got {list(ignored.shape)}")
    if width < 0:
        raise ValueError(f"trimap_band: width must be 0 or more, got {width}")
    for axis in (0, 1):
        # Pixels within the window: a difference of running sums.
        sums = np.cumsum(ignored, axis, dtype=np.int64)
        length = ignored.shape[axis]
        places = np.arange(length)
        upper = np.take(sums, np.minimum(places + width, length - 1), axis)
        lower = np.take(sums - ignored, np.maximum(places - width, 0), axis)
        ignored = upper > lower
    return ignored


def trimap_width(truth: ArrayLike, ignored: ArrayLike) -> NDArray[np.float32]:
    """The least width whose trimap band holds a pixel: the chessboard distance to the nearest ignored one.

    `trimap_band(truth, w)` is where this is at most w, for every w at once.

    Args:
        truth: Labels [H, W].
        ignored: The mask of ignored pixels [H, W].

    Returns:
        float32 [H, W], infinite where nothing is ignored.

    Raises:
        ValueError: The mask has another shape.
    """
    mask = np.asarray(ignored, bool)
    if mask.shape != np.shape(truth) or mask.ndim != 2:
        raise ValueError(f"trimap_width: needs a mask [H, W] of truth's shape, got {list(mask.shape)}")
    if not mask.any():
        return np.full(mask.shape, np.inf, np.float32)
    return cast("NDArray[np.float32]", cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_C, 3))


def label_edges(truth: ArrayLike) -> NDArray[np.bool_]:
    """Pixels of a label map that differ from the one to their right or below them, and those.

    Args:
        truth: Labels [H, W].

    Returns:
        bool [H, W].
    """
    labels = np.asarray(truth)
    edges = np.zeros(labels.shape, bool)
    down, right = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    edges[1:] |= down
    edges[:-1] |= down
    edges[:, 1:] |= right
    edges[:, :-1] |= right
    return edges


_ABSENT: dict[str, float] = {"zero": 0.0, "nan": float("nan"), "one": 1.0}


def _divide(above: ArrayLike, below: ArrayLike, otherwise: float) -> NDArray[np.float64]:
    """above / below in float64, `otherwise` where below is 0."""
    top, bottom = np.asarray(above, np.float64), np.asarray(below, np.float64)
    return np.divide(top, bottom, out=np.full(np.shape(top), otherwise), where=bottom != 0)


def _mean(values: NDArray[np.float64]) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")
