"""The papers' orderings, each held against what the ablation's small nets gave: rows of their own kind."""

from __future__ import annotations

import json
import os
from typing import Any

from deeplab_repro.files.shipped import shipped
from deeplab_repro.verify.answers import ORDERING, Answer
from deeplab_repro.verify.records import Record

ORDERINGS = shipped("orderings.json")


def ordering_answers(path: str | os.PathLike[str] = ORDERINGS) -> list[Answer]:
    """Read what the ablation found about the orderings that the papers give numbers for.

    Nothing is computed: the runs took hours, and their figures come with the package. The papers' differences are of
    other nets on other data, so that only the sign compares, and a verdict of reproduced or different is never given.

    Args:
        path: What `python -m benchmarks.ablation --orderings` wrote.

    Returns:
        An answer an ordering: the difference in points of mean IoU, published and ours.

    Raises:
        OSError: The file cannot be read.

    Example:
        >>> from deeplab_repro.verify.orderings import ordering_answers
        >>> {answer.verdict for answer in ordering_answers()}
        {'in the small'}
    """
    with open(path, encoding="utf-8") as file:
        facts = json.load(file)
    return [
        _answer(row, facts["about"], f"ORD{number:02d}")
        for number, row in enumerate(facts["comparisons"], 1)
        if row["published_points"] is not None
    ]


def _answer(row: dict[str, Any], about: str, name: str) -> Answer:
    record = Record(
        id=name,
        paper="orderings",
        source=about,
        model=row["model"],
        options=row["gain"],
        metric="mIoU_gain",
        unit="points",
        value=row["published_points"],
        check="ordering",
        note=row["source"],
    )
    by_seed = ", ".join(f"{points:+.1f}" for points in row["points"])
    return Answer(record, ORDERING, round(row["mean_points"], 2), f"{row['verdict']}: {by_seed} by seed")
