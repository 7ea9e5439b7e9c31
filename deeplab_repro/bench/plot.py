"""The rows as a picture: speed of convolutions over their rate, times of the other families as bars."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from deeplab_repro.report.plots import GRID, INK, PALE, STRONG, style

FAMILIES = ("conv", "crf", "crf_accuracy", "net")
# What runs our code, under the names of the rows.
OURS = ("ours", "fast", "exact", "auto", "direct", "winograd2", "winograd4", "interlace", "im2col", "bf16")
PEERS = ("nchw", "nhwc", "compile", "library", "onnxruntime", "openvino", "opencv", "pydensecrf")
STRONGS = (STRONG, "#d9822b", "#2f9e77", STRONG, "#2f9e77", "#7b4fa3", "#b8405e", "#6b8e23", "#8a6d3b", "#444444")
PALES = (PALE, "#c3b299", "#b7c4b1", "#aab7b8", "#c9b8d4", "#d6c3c3", "#cfcfcf")


def plot(report: dict[str, Any], path: Path) -> None:
    """Draw every family of the report that has timed rows, one below the other; the suffix chooses the format.

    Raises ValueError where nothing was timed or the suffix is unknown."""
    from matplotlib.figure import Figure

    panels = _panels(report)
    if not panels:
        raise ValueError(f"{path}: nothing was timed, so there is nothing to draw")
    figure = Figure(figsize=(8, sum(map(_height, panels)) + 0.5), layout="constrained")
    places = figure.subplots(len(panels), squeeze=False, height_ratios=list(map(_height, panels)))[:, 0]
    for axes, (family, title, rows) in zip(places, panels, strict=True):
        _DRAWN.get(family, _bars)(axes, rows)
        axes.set_title(title, fontsize=10, loc="left", color=INK)
        style(axes)
    machine = report["machine"]
    device = machine["gpu"] if panels[0][2][0]["device"] != "cpu" else machine["cpu"]
    capability = f", {machine['cpu_capability']}" if device == machine["cpu"] and "cpu_capability" in machine else ""
    threads = f"{machine['threads']} thread{'s' if machine['threads'] != 1 else ''}"
    figure.suptitle(f"{device}{capability}, {threads}, torch {machine['torch']}", fontsize=8, color=INK)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def _height(panel: tuple[str, str, list[dict[str, Any]]]) -> float:
    """Inches of a panel: bars lie, so that names have room."""
    family, _, rows = panel
    if family in ("crf", "net"):
        return 0.9 + sum(0.22 * len(row["times"]) + 0.2 for row in rows)
    return 1.2 + 0.4 * len(rows) if family in ("crf_steps", "crf_accuracy") else 3.6


def _panels(report: dict[str, Any]) -> list[tuple[str, str, list[dict[str, Any]]]]:
    panels = []
    for family in FAMILIES:
        groups = defaultdict(list)
        for row in report.get(family, ()):
            if row.get("times") or family == "crf_accuracy":
                groups[_group(family, row)].append(row)
        panels += [(family, title, rows) for title, rows in groups.items()]
        if family == "crf" and groups:
            panels += [("crf_steps", "Dense CRF: where our time goes", rows) for rows in groups.values()]
    return panels


def _group(family: str, row: dict[str, Any]) -> str:
    if family == "crf_accuracy":
        return f"The lattice against the exact mean field, {row['images']}"
    shape = row["shape"]
    if family == "conv":
        kernel = f"{shape['kernel']}x{shape['kernel']}"
        return (
            f"{kernel} on {shape['size']}x{shape['size']}, batch {shape['batch']}, {row['precision']} "
            f"{row['direction']}"
        )
    return "Dense CRF" if family == "crf" else f"Whole nets, {row['precision']}"


def _colours(names: Sequence[str]) -> dict[str, str]:
    """Ours in strong colours, torch's and others' in pale ones; a name has one colour in every panel."""
    others = [*PEERS, *(name for name in names if name not in (*OURS, *PEERS))]
    strong = dict(zip(OURS, cycle(STRONGS), strict=False))
    return strong | dict(zip(others, cycle(PALES), strict=False))


def _speed_over_rate(axes: Any, rows: list[dict[str, Any]]) -> None:
    rows = sorted(rows, key=lambda row: (row["shape"]["rate"], row["case"]))
    points = range(len(rows))
    names = list(dict.fromkeys(name for row in rows for name in row["speed_over_nchw"]))
    colours = _colours(names)
    for name in names:
        heights = [row["speed_over_nchw"].get(name) for row in rows]
        style = "-" if name in OURS else "--"
        axes.plot(points, heights, style, marker="o", markersize=4, label=name, color=colours[name])
    labels = [f"{row['shape']['layer']}\nr{row['shape']['rate']}" for row in rows]
    axes.set_xticks(points, labels, fontsize=8)
    axes.set_xlabel("layer and atrous rate")
    axes.set_ylabel("speed over F.conv2d, NCHW")
    axes.axhline(1, color=INK, linewidth=0.6)
    axes.grid(axis="y", color=GRID, linewidth=0.6)
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))


def _errors(axes: Any, rows: list[dict[str, Any]]) -> None:
    names = {"max_dq": "largest |dQ|", "mean_dq": "mean |dQ|", "labels_differing": "share of labels that differ"}
    for i, ((key, label), colour) in enumerate(zip(names.items(), (STRONG, PALE, "#d9822b"), strict=True)):
        places = [at + i * 0.27 for at in range(len(rows))]
        axes.barh(places, [row[key] for row in rows], 0.25, label=label, color=colour)
    axes.set_xscale("log")
    axes.set_xlabel("difference of the marginals Q (0 to 1), or share")
    axes.set_yticks([at + 0.27 for at in range(len(rows))], [row["case"] for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))


def _steps(axes: Any, rows: list[dict[str, Any]]) -> None:
    lefts = [0.0] * len(rows)
    names = list(dict.fromkeys(name for row in rows for name in row["split_ms"]))
    for name, colour in zip(names, cycle(dict.fromkeys((*STRONGS, *PALES))), strict=False):
        lengths = [row["split_ms"].get(name, 0.0) for row in rows]
        axes.barh(range(len(rows)), lengths, 0.6, left=lefts, label=name, color=colour)
        lefts = [left + length for left, length in zip(lefts, lengths, strict=True)]
    axes.set_yticks(range(len(rows)), [row["case"] for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds an image")
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))


def _bars(axes: Any, rows: list[dict[str, Any]]) -> None:
    """A bar a program, one case below the other, with its milliseconds; the line is the spread of its samples."""
    names = list(dict.fromkeys(name for row in rows for name in row["times"]))
    colours, place = _colours(names), 0.0
    places, labels, longest = [], [], max(time["median_ms"] for row in rows for time in row["times"].values())
    for row in rows:
        axes.text(0, place - 0.15, row["case"], fontsize=8, color=INK, va="bottom")
        place += 0.45
        fastest = min(time["median_ms"] for time in row["times"].values())
        for name, time in row["times"].items():
            median = time["median_ms"]
            axes.barh(place, median, 0.8, color=colours[name], xerr=time.get("spread_ms", 0) / 2, ecolor=INK,
                      error_kw={"linewidth": 0.8})  # fmt: skip
            note = f"{median:.0f}" if median >= 10 else f"{median:.2g}"
            note += "" if median == fastest else f"  ({median / fastest:.1f}x)"
            axes.text(median + longest * 0.012 + time.get("spread_ms", 0) / 2, place, note, va="center", fontsize=7)
            places.append(place)
            labels.append(name)
            place += 1
        place += 0.7
    axes.set_yticks(places, labels, fontsize=8)
    axes.set_ylim(place - 0.9, -0.9)
    axes.set_xlim(0, longest * 1.18)
    axes.set_xlabel("milliseconds; in brackets, times the fastest")


_DRAWN = {"conv": _speed_over_rate, "crf_accuracy": _errors, "crf_steps": _steps}
