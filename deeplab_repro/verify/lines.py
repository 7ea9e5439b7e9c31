"""Answers in words: the lines that the terminal, the page and docs/results.md show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from deeplab_repro.verify.answers import Answer

_UNITS = {"%": " %", "": ""}
_METRICS = {
    "parameters": "parameters",
    "field_of_view": "field of view of fc6",
    "receptive_field": "receptive field",
    "map_size": "side of the score map",
    "extra_channels": "extra channels",
    "train_speed": "training speed",
    "train_speed_ratio": "training speed, ratio",
    "inference_speed": "inference speed",
    "crf_time": "CRF time",
    "mIoU_gain": "gain in mean IoU",
    "trimap_mIoU": "boundary mIoU",
    "trimap_pixel_acc": "boundary pixel accuracy",
    "trimap_class_acc": "boundary class accuracy",
}


class Line(NamedTuple):
    """What is shown of an answer, or of a series of them.

    Args:
        id: Of the record, or of the series.
        model: The net.
        options: What else tells the record from others.
        metric: What is measured.
        published: The published number, with its unit.
        ours: Ours, with its unit, empty for none.
        verdict: One of VERDICTS.
        detail: Why, or how.
        note: What the record says besides.
    """

    id: str
    model: str
    options: str
    metric: str
    published: str
    ours: str
    verdict: str
    detail: str
    note: str


def summary(line: Sequence[Answer]) -> Line:
    """Say an answer in one line.

    Args:
        line: The answer, or consecutive ones of a series with one verdict.

    Returns:
        The line.
    """
    first, last = line[0], line[-1]
    record = first.record
    detail = "; ".join(filter(None, (first.detail, _conflict(first))))
    metric = _METRICS.get(record.quantity or record.metric, record.metric.replace("_", " "))
    if len(line) == 1:
        unit = _UNITS.get(record.unit, f" {record.unit}")
        name, options = record.id, record.options
        metric += f", {record.width} px" * bool(record.width)
        published, ours = f"{number(record.value)}{unit}", "" if first.ours is None else f"{number(first.ours)}{unit}"
    elif record.paper == "crf":
        name, options, metric = f"CRF.{record.series}", "", f"{len(line)} parameters"
        published = ", ".join(number(answer.record.value) for answer in line)
        ours = ", ".join(number(answer.ours) for answer in line if answer.ours is not None)
    else:
        name, options, metric = record.series, "", f"{metric}, {record.width} to {last.record.width} px"
        published, ours = f"{number(record.value)} to {number(last.record.value)} %", ""
        if first.ours is not None and last.ours is not None:
            ours = f"{number(first.ours)} to {number(last.ours)} %"
    return Line(name, record.model, options, metric, published, ours, first.verdict, detail, record.note)


def number(value: float) -> str:
    """Write a number in up to six digits: 134.347, 0.5, 39.

    Args:
        value: The number.

    Returns:
        Its text.
    """
    return f"{value:.6g}"


def _conflict(answer: Answer) -> str:
    if not answer.record.conflict:
        return ""
    return f"{' and '.join(answer.record.conflict)} state{'s' * (len(answer.record.conflict) == 1)} another value"
