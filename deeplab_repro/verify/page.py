"""`deeplab verify` as one HTML file that needs nothing else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from deeplab_repro.files.atomic import write_text
from deeplab_repro.report.html import render
from deeplab_repro.verify.answers import Answer, counts, folded, grouped
from deeplab_repro.verify.lines import summary


def render_page(answers: Sequence[Answer]) -> str:
    """Draw the page: answers by paper and table, the points of a curve behind a line that opens.

    Args:
        answers: The answers.

    Returns:
        HTML text.
    """
    papers = {
        paper: {source: [_line(line) for line in folded(group)] for source, group in tables.items()}
        for paper, tables in grouped(answers).items()
    }
    machines = sorted({answer.machine for answer in answers if answer.machine})
    return render(__package__, "verify.html.j2", papers=papers, verdicts=counts(answers), machines=machines)


def _line(line: Sequence[Answer]) -> dict[str, Any]:
    """What the template shows of a line: itself, the points of a curve, the IoU of classes."""
    points = [summary([answer]) for answer in line] if len(line) > 1 else []
    per_class = {name: f"{value:.2f}" for name, value in line[0].per_class.items() if value is not None}
    return {"line": summary(line), "points": points, "per_class": {} if points else per_class}


def write_page(answers: Sequence[Answer], path: str | os.PathLike[str]) -> None:
    """Write the page; nothing is left behind where that fails.

    Args:
        answers: The answers.
        path: The file.

    Raises:
        OSError: The file cannot be written.
    """
    text = render_page(answers)
    write_text(path, text)
