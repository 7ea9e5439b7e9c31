"""The demo's report as one HTML file that needs nothing else."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
class Photograph:
    """One photograph and what was found in it.

    Args:
        name: Its name.
        pictures: Its pictures.
        shares: Share of its pixels by class, after the CRF, 0..1.
    """

    name: str
    pictures: Sequence[Picture]
    shares: Mapping[str, float]


@dataclass(frozen=True)
class Scores:
    """What a labelled folder says of the model.

    Args:
        before: Confusion before the CRF.
        after: Confusion after it.
        images: How many were counted.
    """

    before: ConfusionMatrix
    after: ConfusionMatrix
    images: int

    def summary(self, names: Sequence[str]) -> dict[str, Any]:
        """The scores as JSON has them.

        Args:
            names: Of the classes, by label.

        Returns:
            images, miou_before, miou_after, and IoU by class before and after.
        """
        stages = {"before": self.before, "after": self.after}
        return {
            "images": self.images,
            **{f"miou_{stage}": matrix.miou() for stage, matrix in stages.items()},
            **{
                f"iou_{stage}": dict(zip(names, matrix.per_class().tolist(), strict=True))
                for stage, matrix in stages.items()
            },
        }


@dataclass(frozen=True)
class Report:
    """What the report shows.

    Args:
        title: Of the page.
        summary: A few sentences.
        classes: Class names, by label.
        palette: Their RGB, uint8 [L, 3].
        photographs: The photographs.
        facts: Texts by label.
        checks: Sentences, each with whether it held.
        scores: Of a labelled folder, if one was given.
    """

    title: str
    summary: str
    classes: Sequence[str]
    palette: NDArray[np.uint8]
    photographs: Sequence[Photograph]
    facts: Mapping[str, str]
    checks: Sequence[tuple[str, bool]]
    scores: Scores | None = None


def render_report(report: Report) -> str:
    """Draw the report; pictures and plots are embedded, no address outside the file is used.

    Args:
        report: What it shows.

    Returns:
        HTML text.
    """
    colours = {
        name: "#{:02x}{:02x}{:02x}".format(*colour) for name, colour in zip(report.classes, report.palette, strict=True)
    }
    rows, plot = [], ""
    if report.scores is not None:
        before, after = (matrix.per_class("nan") for matrix in (report.scores.before, report.scores.after))
        pixels = report.scores.before.matrix.sum(1) + report.scores.before.missed
        rows = [
            {"name": name, "share": count / max(pixels.sum(), 1), "before": old, "after": new}
            for name, count, old, new in zip(report.classes, pixels, before, after, strict=True)
        ]
        plot = svg_address(plots.paired_bars(report.classes, {"before CRF": before, "after CRF": after}, "IoU"))
    return render(
        __package__,
        "report.html.j2",
        {"png": png_address, "percent": _percent, "points": _points},
        report=report,
        colours=colours,
        rows=rows,
        class_plot=plot,
    )


def write_report(report: Report, path: str | os.PathLike[str]) -> None:
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
