"""What losses and scorers share: how labels fit scores, and which labels do not count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prototxt_import.layers.shapes import canonical, count
from prototxt_import.values import Shape


def labels_fit(bottoms: Sequence[Shape], axis: int) -> None:
    """Check that there is a label for every position of the scores.

    Args:
        bottoms: Shapes of the scores and of the labels.
        axis: The scores' axis of classes.

    Raises:
        ValueError: There are more labels, or fewer.
    """
    scores, labels = bottoms[:2]
    classes = scores[canonical(axis, scores)]
    if classes < 1 or count(scores) // classes != count(labels):
        raise ValueError(f"labels {list(labels)} do not give one number per position of scores {list(scores)}")


def one_label_an_item(bottoms: Sequence[Shape], least: int = 2, label: int = 1) -> None:
    """Check that the first bottom has items, and that there is a label for each.

    Args:
        bottoms: Shapes of the bottoms, scores first.
        least: How many axes the scores must have.
        label: Index of the labels among the bottoms; where there is no such bottom, only the scores are looked at.

    Raises:
        ValueError: The scores have fewer axes, or the labels another number.
    """
    scores = bottoms[0]
    if len(scores) < least:
        raise ValueError(f"needs a bottom of at least {least} axes (items first), got {list(scores)}")
    if label < len(bottoms) and count(bottoms[label]) != scores[0]:
        raise ValueError(f"labels {list(bottoms[label])} do not give one number for each item of {list(scores)}")


def ignored(source: Any) -> tuple[int, ...]:
    """The ignore_label of a message, as the options keep it.

    Args:
        source: The message that has the field.

    Returns:
        The label, or nothing where the field is absent.
    """
    return (source.ignore_label,) if source.HasField("ignore_label") else ()


def put_ignored(message: Any, group: str, labels: tuple[int, ...]) -> None:
    """Write labels that do not count.

    Args:
        message: The layer's message, which is changed.
        group: Its field that holds ignore_label.
        labels: The labels.

    Raises:
        ValueError: There is more than one.
    """
    if len(labels) > 1:
        raise ValueError(f"this dialect takes one ignore_label, not {list(labels)}")
    if labels:
        getattr(message, group).ignore_label = labels[0]
