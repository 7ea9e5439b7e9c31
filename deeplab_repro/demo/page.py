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
    """One captioned image, RGB uint8 [H, W, 3]."""

    caption: str
    image: NDArray[np.uint8]


@dataclass(frozen=True)
class SceneRow:
    """The pictures of one scene and its mean IoU before and after the CRF."""

    name: str
    pictures: Sequence[Picture]
    before: float
    after: float


@dataclass(frozen=True)
class ScoreReport:
    """What the report shows.

    classes and palette (RGB [L, 3]) belong together; `recorded` holds mIoU before and after as once recorded; `facts`
    are label and text, `checks` a sentence and whether it held."""

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
    """The report as HTML text; pictures and plots are embedded, no address outside the file is used."""
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
    """Render to `path`; raises OSError when it cannot be written, and then leaves nothing behind."""
    text = render_report(report)
    write_text(path, text)


def _percent(value: float) -> str:
    return "–" if np.isnan(value) else f"{100 * value:.1f}"


def _points(value: float) -> str:
    """A difference of two shares in points, with its sign."""
    return "–" if np.isnan(value) else f"{100 * value:+.1f}".replace("-", "\N{MINUS SIGN}")
