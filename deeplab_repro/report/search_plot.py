"""The heat map of a parameter search."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from deeplab_repro.evaluate.crf_search import Setting
from deeplab_repro.files.atomic import replacing

MOST_PANELS = 12


def save_heat_map(results: Mapping[Setting, Mapping[str, float]], best: Setting, path: str | os.PathLike[str]) -> None:
    """Write a PNG: mean IoU over weight and xy std, one panel for each rgb std, a ring around the best setting.

    Of more than 12 rgb stds the 12 with the best settings are shown."""
    reaches = sorted({setting.rgb_std for setting in results})
    if len(reaches) > MOST_PANELS:
        highest = {each: max(row["miou"] for s, row in results.items() if s.rgb_std == each) for each in reaches}
        reaches = sorted(sorted(reaches, key=highest.__getitem__)[-MOST_PANELS:])
    columns = min(4, len(reaches))
    rows = -(-len(reaches) // columns)
    figure = Figure(figsize=(1.2 + 2.6 * columns, 0.6 + 2.4 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    shown = [100 * row["miou"] for setting, row in results.items() if setting.rgb_std in reaches]
    for panel in panels.flat[len(reaches) :]:
        panel.set_visible(False)
    for panel, reach in zip(panels.flat, reaches, strict=False):
        here = {setting: row for setting, row in results.items() if setting.rgb_std == reach}
        weights, widths = (sorted({setting[axis] for setting in here}) for axis in (0, 1))
        values = np.full((len(weights), len(widths)), np.nan)
        for setting, row in here.items():
            values[weights.index(setting.weight), widths.index(setting.xy_std)] = 100 * row["miou"]
        # Settings are not evenly spaced once refined: one cell each, labelled by its value.
        picture = panel.imshow(values, origin="lower", aspect="auto", vmin=min(shown), vmax=max(shown), cmap="viridis")
        panel.set_xticks(range(len(widths)), [f"{each:g}" for each in widths], rotation=90, fontsize=7)
        panel.set_yticks(range(len(weights)), [f"{each:g}" for each in weights], fontsize=7)
        panel.set_title(f"rgb std {reach:g}", fontsize=9)
        if reach == best.rgb_std:
            place = (widths.index(best.xy_std), weights.index(best.weight))
            panel.plot(*place, "o", markersize=11, markerfacecolor="none", markeredgecolor="white", markeredgewidth=2)
    figure.supxlabel("xy std, pixels", fontsize=9)
    figure.supylabel("weight", fontsize=9)
    figure.colorbar(picture, ax=panels, label="mean IoU, %", shrink=0.9)
    FigureCanvasAgg(figure)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150, format="png")
