"""The report's plots as SVG."""

from __future__ import annotations

import io
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from numpy.typing import NDArray

_BEFORE, _AFTER, _INK = "#9fb3c8", "#1f5f8b", "#334e68"


def class_bars(classes: Sequence[str], before: NDArray[np.float64], after: NDArray[np.float64]) -> bytes:
    """IoU of each class before and after, paired bars; the best class comes first, absent ones (NaN) last."""
    order = np.argsort(-np.nan_to_num(after, nan=-1.0), kind="stable")
    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    axes = figure.subplots()
    place = np.arange(len(order))
    axes.bar(place - 0.2, 100 * before[order], 0.38, label="before CRF", color=_BEFORE)
    axes.bar(place + 0.2, 100 * after[order], 0.38, label="after CRF", color=_AFTER)
    axes.set_xticks(place, [classes[index] for index in order], rotation=35, ha="right", rotation_mode="anchor")
    axes.set_ylabel("IoU, %")
    axes.set_ylim(0, 100)
    axes.legend(frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return _svg(figure)


def scene_changes(scenes: Sequence[tuple[str, float, float]]) -> bytes:
    """Mean IoU (name, before, after) of each scene: a line from before to after, sorted by the score before."""
    ordered = sorted(scenes, key=lambda scene: scene[1])
    figure = Figure(figsize=(7.2, 0.6 + 0.19 * max(len(ordered), 3)), layout="constrained")
    axes = figure.subplots()
    place = np.arange(len(ordered))
    before, after = (np.array([100 * scene[index] for scene in ordered]) for index in (1, 2))
    axes.hlines(place, before, after, color=_BEFORE, linewidth=2)
    axes.plot(before, place, "o", color=_BEFORE, markersize=5)
    axes.plot(after, place, "o", color=_AFTER, markersize=5)
    axes.set_yticks(place, [scene[0] for scene in ordered], fontsize=7)
    axes.set_xlabel("mean IoU of the scene, %")
    return _svg(figure)


def _svg(figure: Figure) -> bytes:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=_INK, length=0)
        axes.grid(axis="y" if axes.get_ylim() == (0, 100) else "x", color="#d9e2ec", linewidth=0.6)
        axes.set_axisbelow(True)
    FigureCanvasSVG(figure)
    buffer = io.BytesIO()
    # A fixed salt and no date: the same numbers give the same file.
    with matplotlib.rc_context({"svg.hashsalt": "deeplab"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
