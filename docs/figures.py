"""Draw the figures of the documentation into docs/figures: `python docs/figures.py`, after a change here."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

INK, PALE, BLUE, RED, GREEN, GOLD = "#30343b", "#d9dde3", "#3567b5", "#c2453d", "#3f8f5b", "#d39b2a"
RATES = (1, 2, 4)


def _bare(axes: Any, width: float, height: float) -> None:
    """An axis as paper: no ticks, y down, from the middle of the first square."""
    axes.set(xlim=(-0.7, width - 0.3), ylim=(height - 0.3, -0.7), aspect="equal")
    axes.axis("off")


def _square(axes: Any, x: float, y: float, colour: str, **more: Any) -> None:
    axes.add_patch(plt.Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=colour, edgecolor="white", lw=0.8, **more))


def rates() -> Figure:
    """The nine taps of one window at three rates."""
    figure, panels = plt.subplots(1, 3, figsize=(7.2, 2.7))
    side = 11
    for axes, rate in zip(panels, RATES, strict=True):
        _bare(axes, side, side)
        for y in range(side):
            for x in range(side):
                dx, dy = x - side // 2, y - side // 2
                tap = abs(dx) in (0, rate) and abs(dy) in (0, rate)
                _square(axes, x, y, RED if dx == dy == 0 else BLUE if tap else PALE)
        axes.set_title(f"rate {rate}: spans {2 * rate + 1} x {2 * rate + 1}", fontsize=9, color=INK)
    figure.tight_layout()
    return figure


def methods() -> Figure:
    """How im2col, interlacing and direct products see one atrous convolution."""
    figure, panels = plt.subplots(1, 3, figsize=(7.2, 2.9))
    side, rate = 8, 2
    titles = ("im2col: a column a window", "interlace: rate² dense maps", "direct: a rectangle a tap")
    for axes, title in zip(panels, titles, strict=True):
        _bare(axes, side, side)
        axes.set_title(title, fontsize=9, color=INK)
    windows = {(2, 2): BLUE, (5, 4): GOLD}
    for y in range(side):
        for x in range(side):
            colour = PALE
            for (cx, cy), own in windows.items():
                if abs(x - cx) in (0, rate) and abs(y - cy) in (0, rate):
                    colour = own
            _square(panels[0], x, y, colour)
            _square(panels[1], x, y, ((BLUE, GOLD), (GREEN, RED))[y % 2][x % 2], alpha=0.85)
            # The tap two to the left and above: outputs whose sample lies inside.
            _square(panels[2], x, y, BLUE if x >= rate and y >= rate else PALE)
    figure.tight_layout()
    return figure


def lattice() -> Figure:
    """Splat, blur and slice on the lattice of two dimensions."""
    figure, panels = plt.subplots(1, 3, figsize=(7.2, 2.8))
    right, up = np.array([1.0, 0.0]), np.array([0.5, np.sqrt(3) / 2])
    vertices = np.array([i * right + j * up for j in range(5) for i in range(-2, 6)])
    vertices = vertices[(vertices[:, 0] >= -0.1) & (vertices[:, 0] <= 5.1)]
    point = 2 * right + 1 * up + 0.33 * right + 0.3 * up
    corners = [2 * right + 1 * up, 3 * right + 1 * up, 2 * right + 2 * up]
    weights = (0.37, 0.33, 0.30)  # barycentric
    titles = ("splat: to the corners", "blur: along each axis", "slice: back at the points")
    for axes, title in zip(panels, titles, strict=True):
        for direction in (right, up, up - right):
            for start in vertices:
                end = start + direction
                if -0.1 <= end[0] <= 5.1 and end[1] <= 4 * up[1] + 0.1:
                    axes.plot(*zip(start, end, strict=True), color=PALE, lw=0.9, zorder=0)
        axes.set(aspect="equal", xlim=(-0.3, 5.3), ylim=(-0.4, 3.9))
        axes.axis("off")
        axes.set_title(title, fontsize=9, color=INK)
    for axes, forth in ((panels[0], True), (panels[2], False)):
        for corner, weight in zip(corners, weights, strict=True):
            axes.scatter(*corner, s=320 * weight, color=BLUE, zorder=2)
            begin, end = (point, corner) if forth else (corner, point)
            axes.annotate("", end, begin, arrowprops={"arrowstyle": "->", "color": RED, "lw": 1.3})
        axes.scatter(*point, s=22, color=RED, zorder=3)
    centre = 2 * right + 2 * up
    for direction, colour in ((right, BLUE), (up, GREEN), (up - right, GOLD)):
        for sign in (-1, 1):
            end = centre + sign * direction
            panels[1].annotate("", end, centre, arrowprops={"arrowstyle": "->", "color": colour, "lw": 1.6})
            panels[1].scatter(*end, s=55, color=colour, zorder=2)
            panels[1].text(end[0] + 0.12, end[1] + 0.14, "½", fontsize=9, color=INK)
    panels[1].scatter(*centre, s=110, color=RED, zorder=3)
    panels[1].text(centre[0] + 0.12, centre[1] + 0.2, "1", fontsize=9, color=INK)
    figure.tight_layout()
    return figure


def pooling() -> Figure:
    """Windows at stride 2 on rows of six and of five pixels."""
    figure, panels = plt.subplots(3, 1, figsize=(6.4, 4.0))
    rows = (
        (6, 0, 3, 3, "Caffe, kernel 3, no padding: 3 windows, the last one cut"),
        (6, 0, 3, 2, "torch's default: 2 windows, the last pixel is in none"),
        (5, 1, 2, 3, "Caffe, kernel 2, padding 1: a 4th would start in the padding"),
    )
    for axes, (pixels, pad, kernel, count, title) in zip(panels, rows, strict=True):
        for x in range(-1, 8):
            inside, padding = 0 <= x < pixels, -pad <= x < 0 or pixels <= x < pixels + pad
            if inside or padding:
                _square(axes, x, 0, BLUE if inside else PALE)
        for window in range(count):
            left = window * 2 - pad - 0.42
            right = min(left + kernel - 0.16, pixels + pad - 0.58)
            y = 0.85 + 0.45 * (window % 2)
            axes.plot((left, right), (y, y), color=(RED, GREEN, GOLD)[window], lw=4, solid_capstyle="butt")
        axes.set(xlim=(-1.7, 8), ylim=(1.7, -0.7), aspect="equal")
        axes.axis("off")
        axes.set_title(title, fontsize=9, color=INK, loc="left")
    figure.tight_layout()
    return figure


def interp() -> Figure:
    """Where five outputs of three values are read, by Interp and by torch's default."""
    figure, axes = plt.subplots(figsize=(6.4, 2.0))
    values = np.array([0.2, 1.0, 0.4])
    ours = np.arange(5) * 2 / 4
    theirs = (np.arange(5) + 0.5) * 3 / 5 - 0.5
    axes.plot(range(3), values, color=PALE, lw=2, zorder=0)
    axes.scatter(range(3), values, s=70, color=INK, label="values", zorder=2)
    for places, colour, name, marker in (
        (ours, BLUE, "Interp: ends on ends", "o"),
        (theirs, RED, "align_corners=False", "x"),
    ):
        read = np.interp(places, range(3), values)
        axes.scatter(places, read, s=36, color=colour, marker=marker, label=name, zorder=3)
    axes.set(xticks=range(3), yticks=[], xlabel="position in the three values", xlim=(-0.4, 2.4), ylim=(0, 1.15))
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.tight_layout()
    return figure


def crf() -> Figure:
    """A drawn scene, the bundled model's labels, and those after the CRF."""
    from deeplab_repro import Segmenter
    from deeplab_repro.data.scenes.scenes import PALETTE, draw_scene
    from deeplab_repro.files.palette import colorize

    image, _ = draw_scene(3, 180, 240)
    pictures = (
        image,
        colorize(Segmenter("scenes", crf=None)(image).labels, PALETTE),
        colorize(Segmenter("scenes")(image).labels, PALETTE),
    )
    figure, panels = plt.subplots(1, 3, figsize=(7.2, 2.1))
    for axes, picture, title in zip(panels, pictures, ("image", "network", "after the CRF"), strict=True):
        axes.imshow(picture)
        axes.axis("off")
        axes.set_title(title, fontsize=9, color=INK)
    figure.tight_layout()
    return figure


FIGURES: dict[str, Callable[[], Figure]] = {
    "rates.svg": rates,
    "methods.svg": methods,
    "lattice.svg": lattice,
    "pooling.svg": pooling,
    "interp.svg": interp,
    "crf.png": crf,
}


def draw(folder: Path) -> None:
    """Draw all of them into a folder, the same bytes each time."""
    settings = {"svg.hashsalt": "deeplab", "svg.fonttype": "path", "font.family": "DejaVu Sans"}
    for name, make in FIGURES.items():
        with mpl.rc_context(settings):
            figure = make()
            metadata = {"Date": None} if name.endswith(".svg") else {"Software": None}
            figure.savefig(folder / name, dpi=130, metadata=metadata)
            plt.close(figure)


if __name__ == "__main__":
    draw(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "figures"))
