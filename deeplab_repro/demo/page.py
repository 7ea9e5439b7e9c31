"""The before/after report as one HTML file that needs nothing else."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeplab_repro.evaluate.metrics import ConfusionMatrix
from deeplab_repro.files.atomic import write_text
from deeplab_repro.report import plots
from deeplab_repro.report.html import png_address, render, svg_address


@dataclass(frozen=True)
class Picture:
    """One captioned image.

    Args:
        caption: What it shows.
        image: RGB uint8 [H, W, 3].
    """

    caption: str
    image: NDArray[np.uint8]


@dataclass(frozen=True)
class SceneRow:
    """One scene.

    Args:
        name: The scene's.
        pictures: Its pictures.
        before: Mean IoU before the CRF, 0..1.
        after: Mean IoU after it.
    """

    name: str
    pictures: Sequence[Picture]
    before: float
    after: float


@dataclass(frozen=True)
class ScoreReport:
    """What the report shows.

    Args:
        title: Of the page.
        summary: A few sentences.
        classes: Class names, by label.
        palette: Their RGB, uint8 [L, 3].
        before: Confusion before the CRF.
        after: Confusion after it.
        recorded: Mean IoU before and after as once recorded.
        scenes: The scenes.
        facts: Texts by label.
        checks: Sentences, each with whether it held.
    """

    title: str
    summary: str
    classes: Sequence[str]
    palette: NDArray[np.uint8]
    before: ConfusionMatrix
    after: ConfusionMatrix
    recorded: tuple[float, float]
    scenes: Sequence[SceneRow]
    facts: Mapping[str, str]
    checks: Sequence[tuple[str, bool]]


def render_report(report: ScoreReport) -> str:
    """Draw the report; pictures and plots are embedded, no address outside the file is used.

    Args:
        report: What it shows.

    Returns:
        HTML text.
    """
    before, after = report.before.per_class("nan"), report.after.per_class("nan")
    pixels = report.before.matrix.sum(1) + report.before.missed
    rows = [
        {"name": name, "colour": "#{:02x}{:02x}{:02x}".format(*colour), "share": count / max(pixels.sum(), 1),
         "before": old, "after": new}
        for name, colour, count, old, new in zip(report.classes, report.palette, pixels, before, after, strict=True)
    ]  # fmt: skip
    scenes = [(row.name, row.before, row.after) for row in report.scenes]
    return render(
        __package__,
        "report.html.j2",
        {"png": png_address, "percent": _percent, "points": _points},
        report=report,
        rows=rows,
        class_plot=svg_address(plots.paired_bars(report.classes, {"before CRF": before, "after CRF": after}, "IoU")),
        scene_plot=svg_address(plots.changes(scenes, "mean IoU of the scene")),
    )


def write_report(report: ScoreReport, path: str | os.PathLike[str]) -> None:
    """Write the report; nothing is left behind where that fails.

    Args:
        report: What it shows.
        path: The file.

    Raises:
        OSError: The file cannot be written.
    """
    text = render_report(report)
    write_text(path, text)


def _percent(value: float) -> str:
    return "–" if np.isnan(value) else f"{100 * value:.1f}"


def _points(value: float) -> str:
    """A difference of two shares in points, with its sign."""
    return "–" if np.isnan(value) else f"{100 * value:+.1f}".replace("-", "\N{MINUS SIGN}")
