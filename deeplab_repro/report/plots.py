"""Plots of arrays and labels, which know nothing of what they show: SVG for pages, or files by their suffix."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from deeplab_repro.files.atomic import replacing

PALE, STRONG, INK, GRID = "#9fb3c8", "#1f5f8b", "#334e68", "#d9e2ec"
MOST_NUMBERED = 30
PANELS_A_ROW = 4
Floats = NDArray[np.float64]
PathLike = str | os.PathLike[str]


def paired_bars(names: Sequence[str], values: Mapping[str, Floats], axis: str) -> bytes:
    """Draw two shares of each name as paired bars; the highest second one comes first, absent ones (NaN) last.

    Args:
        names: What the shares are of.
        values: Two arrays of shares, 0..1, by what the legend calls them.
        axis: What the shares are.

    Returns:
        An SVG's bytes.
    """
    (first, pale), (second, strong) = values.items()
    order = np.argsort(-np.nan_to_num(strong, nan=-1.0), kind="stable")
    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    axes = figure.subplots()
    place = np.arange(len(order))
    axes.bar(place - 0.2, 100 * pale[order], 0.38, label=first, color=PALE)
    axes.bar(place + 0.2, 100 * strong[order], 0.38, label=second, color=STRONG)
    axes.set_xticks(place, [names[index] for index in order], rotation=35, ha="right", rotation_mode="anchor")
    axes.set_ylabel(f"{axis}, %")
    axes.set_ylim(0, 100)
    axes.legend(frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return _svg(figure)


def save_confusion(matrix: NDArray[np.int64], names: Sequence[str], path: PathLike, title: str = "") -> None:
    """Draw the share of each true class predicted as each class. Classes that do not occur are empty rows.

    Args:
        matrix: Counts [C, C], true classes by row.
        names: Class names.
        path: A .png, .svg or .pdf file.
        title: Above the picture.

    Raises:
        OSError: The file cannot be written.
    """
    rows = matrix.sum(1, keepdims=True)
    shares = np.divide(matrix, rows, out=np.full(matrix.shape, np.nan), where=rows > 0)
    side = min(4 + 0.28 * len(matrix), 40)
    figure = Figure(figsize=(side, side * 0.92), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    places = np.arange(len(matrix))
    axes.set_xticks(places, names, rotation=90, fontsize=7)
    axes.set_yticks(places, names, fontsize=7)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(title, fontsize=9)
    if len(matrix) <= MOST_NUMBERED:
        for y, x in zip(*np.nonzero(np.nan_to_num(shares) >= 0.005), strict=True):
            colour = "white" if shares[y, x] > 0.6 else INK
            size = 8 if len(matrix) <= 12 else 5
            axes.text(x, y, f"{100 * shares[y, x]:.0f}", ha="center", va="center", fontsize=size, color=colour)
    figure.colorbar(image, shrink=0.7, label="share of the true class; numbers in %")
    _save(figure, path)


def save_curves(
    places: Sequence[float], curves: Mapping[str, Sequence[float]], path: PathLike, across: str, axis: str
) -> None:
    """Draw curves of shares.

    Args:
        places: Where the shares are, along the curves.
        curves: Shares, 0..1, by what the legend calls them.
        path: A .png, .svg or .pdf file.
        across: What the places are.
        axis: What the shares are.

    Raises:
        OSError: The file cannot be written.
    """
    figure = Figure(figsize=(5.6, 4), layout="constrained")
    axes = figure.subplots()
    for index, (name, values) in enumerate(curves.items()):
        colour = (PALE, STRONG)[index] if index < 2 else None
        axes.plot(places, 100 * np.asarray(values), label=name, color=colour, marker=".")
    axes.set_xlabel(across)
    axes.set_ylabel(f"{axis}, %")
    axes.grid(color=GRID, linewidth=0.6)
    axes.legend(frameon=False)
    _save(figure, path)


@dataclass(frozen=True)
class Panel:
    """One heat map.

    Args:
        title: Above it.
        rows: The values that rows stand for, from below.
        columns: The values that columns stand for.
        shares: 0..1 [rows, columns]; NaN, which is hatched, was not tried.
        ring: The (row, column) to mark, or None.
    """

    title: str
    rows: Sequence[float]
    columns: Sequence[float]
    shares: ArrayLike
    ring: tuple[int, int] | None = None


def save_heat_maps(panels: Sequence[Panel], path: PathLike, down: str, across: str, axis: str) -> None:
    """Draw heat maps beside each other on one scale of colours.

    Args:
        panels: The maps.
        path: A .png, .svg or .pdf file.
        down: What rows are.
        across: What columns are.
        axis: What the shares are.

    Raises:
        OSError: The file cannot be written.
    """
    shares = [100 * np.asarray(panel.shares, np.float64) for panel in panels]
    low, high = min(map(np.nanmin, shares)), max(map(np.nanmax, shares))
    columns = min(PANELS_A_ROW, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(1.2 + 2.6 * columns, 0.6 + 2.4 * rows), layout="constrained")
    drawn = figure.subplots(rows, columns, squeeze=False)
    for axes in drawn.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, panel, values in zip(drawn.flat, panels, shares, strict=False):
        # Values need not be evenly spaced: one cell each, labelled by its value.
        picture = axes.imshow(values, origin="lower", aspect="auto", vmin=low, vmax=high, cmap="viridis")
        axes.set_xticks(range(len(panel.columns)), [f"{value:g}" for value in panel.columns], rotation=90, fontsize=7)
        axes.set_yticks(range(len(panel.rows)), [f"{value:g}" for value in panel.rows], fontsize=7)
        axes.set_title(panel.title, fontsize=9)
        axes.patch.set(facecolor="white", edgecolor=PALE, hatch="///")
        if panel.ring is not None:
            ring = {"markerfacecolor": "none", "markeredgecolor": "#e12d39", "markeredgewidth": 2}
            axes.plot(*panel.ring[::-1], "o", markersize=11, **ring)
    said = ["ring: the best"] if any(panel.ring is not None for panel in panels) else []
    said += ["hatched: not tried"] if any(np.isnan(values).any() for values in shares) else []
    figure.supxlabel("\n".join([across, "; ".join(said)]).strip(), fontsize=9)
    figure.supylabel(down, fontsize=9)
    figure.colorbar(picture, ax=drawn, label=f"{axis}, %", shrink=0.9)
    _save(figure, path)


def _svg(figure: Figure) -> bytes:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=INK, length=0)
        axes.grid(axis="y" if axes.get_ylim() == (0, 100) else "x", color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
    FigureCanvasSVG(figure)
    buffer = io.BytesIO()
    # A fixed salt and no date: the same numbers give the same file.
    with matplotlib.rc_context({"svg.hashsalt": "deeplab"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def style(axes: Axes) -> None:
    """The look that all plots share: no box, quiet ticks, the project's ink.

    Args:
        axes: What to style; its lines and pictures stay.
    """
    if not axes.images:
        axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, colors=INK)
    for text in (axes.xaxis.label, axes.yaxis.label):
        text.set_fontsize(9)
        text.set_color(INK)


def _save(figure: Figure, path: PathLike) -> None:
    for axes in figure.axes:
        style(axes)
    FigureCanvasAgg(figure)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)
