"""Pictures of an evaluation: the confusion matrix and the trimap curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from deeplab_repro.files.atomic import replacing

_LABELS = {"network": "without CRF", "crf": "with CRF"}
_COLOURS = {"network": "#9fb3c8", "crf": "#1f5f8b"}


def save_confusion(matrix: NDArray[np.int64], class_names: Sequence[str], path: Path, title: str = "") -> None:
    """The share of each true class [C] that is predicted as each class, [C, C] counts, as a picture (.png, .svg, .pdf).

    Classes that do not occur are empty rows. OSError when the file cannot be written."""
    rows = matrix.sum(1, keepdims=True)
    shares = np.divide(matrix, rows, out=np.full(matrix.shape, np.nan), where=rows > 0)
    side = min(4 + 0.28 * len(matrix), 40)
    figure = Figure(figsize=(side, side * 0.92), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    places = np.arange(len(matrix))
    axes.set_xticks(places, class_names, rotation=90, fontsize=7)
    axes.set_yticks(places, class_names, fontsize=7)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(title, fontsize=9)
    if len(matrix) <= 30:
        for y, x in zip(*np.nonzero(np.nan_to_num(shares) >= 0.005), strict=True):
            colour = "white" if shares[y, x] > 0.6 else "#334e68"
            axes.text(x, y, f"{100 * shares[y, x]:.0f}", ha="center", va="center", fontsize=5, color=colour)
    figure.colorbar(image, shrink=0.7, label="share of the true class")
    _save(figure, path)


def save_trimap(widths: Sequence[int], curves: Mapping[str, Sequence[float]], path: Path, what: str) -> None:
    """Curves (0..1) by stage over the band's width in pixels, as a picture; `what` names the figure on the axis."""
    figure = Figure(figsize=(5.6, 4), layout="constrained")
    axes = figure.subplots()
    for stage, values in curves.items():
        axes.plot(
            widths, 100 * np.asarray(values), label=_LABELS.get(stage, stage), color=_COLOURS.get(stage), marker="."
        )
    axes.set_xlabel("width of the trimap, pixels")
    axes.set_ylabel(f"{what}, %")
    axes.grid(color="#d9e2ec", linewidth=0.6)
    axes.legend(frameon=False)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)
