"""The rows as a picture: speed of convolutions over their rate, times of the other families as bars."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FAMILIES = ("conv", "crf", "crf_accuracy", "net")


def plot(report: dict[str, Any], path: Path) -> None:
    """Draw every family of the report that has timed rows, one below the other; the suffix chooses the format.

    Raises ValueError where nothing was timed or the suffix is unknown."""
    from matplotlib.figure import Figure

    panels = _panels(report)
    if not panels:
        raise ValueError(f"{path}: nothing was timed, so there is nothing to draw")
    figure = Figure(figsize=(9, 4 * len(panels)), layout="constrained")
    for axes, (family, title, rows) in zip(figure.subplots(len(panels), squeeze=False)[:, 0], panels, strict=True):
        _DRAWN.get(family, _bars)(axes, rows)
        axes.set_title(title, fontsize="medium")
        axes.legend(fontsize="small")
    machine = report["machine"]
    device = machine["gpu"] if panels[0][2][0]["device"] != "cpu" else machine["cpu"]
    figure.suptitle(f"{device}, {machine['threads']} threads, torch {machine['torch']}", fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _panels(report: dict[str, Any]) -> list[tuple[str, str, list[dict[str, Any]]]]:
    panels = []
    for family in FAMILIES:
        groups = defaultdict(list)
        for row in report.get(family, ()):
            if row.get("times") or family == "crf_accuracy":
                groups[_group(family, row)].append(row)
        panels += [(family, title, rows) for title, rows in groups.items()]
        if family == "crf" and groups:
            panels += [("crf_steps", "dense CRF: milliseconds of our steps", rows) for rows in groups.values()]
    return panels


def _group(family: str, row: dict[str, Any]) -> str:
    if family == "crf_accuracy":
        return f"the lattice against the exact mean field, {row['images']}"
    shape = row["shape"]
    if family == "conv":
        kernel = f"{shape['kernel']}x{shape['kernel']}"
        return (
            f"{kernel} on {shape['size']}x{shape['size']}, batch {shape['batch']}, {row['precision']} "
            f"{row['direction']}: speed over F.conv2d NCHW"
        )
    return "dense CRF: milliseconds" if family == "crf" else f"whole nets, {row['precision']}: milliseconds"


def _speed_over_rate(axes: Any, rows: list[dict[str, Any]]) -> None:
    rows = sorted(rows, key=lambda row: (row["shape"]["rate"], row["case"]))
    points = range(len(rows))
    for name in dict.fromkeys(name for row in rows for name in row["speed_over_nchw"]):
        axes.plot(points, [row["speed_over_nchw"].get(name) for row in rows], marker="o", label=name)
    labels = [f"{row['shape']['layer']}\nr{row['shape']['rate']}" for row in rows]
    axes.set_xticks(points, labels, fontsize="small")
    axes.axhline(1, color="grey", linewidth=0.5)
    axes.set_ylim(bottom=0)


def _errors(axes: Any, rows: list[dict[str, Any]]) -> None:
    names = {"max_dq": "max |dQ|", "mean_dq": "mean |dQ|", "labels_differing": "labels that differ"}
    for i, (key, label) in enumerate(names.items()):
        axes.bar([at + i * 0.27 for at in range(len(rows))], [row[key] for row in rows], 0.27, label=label)
    axes.set_yscale("log")
    _name_cases(axes, [at + 0.27 for at in range(len(rows))], rows)


def _steps(axes: Any, rows: list[dict[str, Any]]) -> None:
    bottoms = [0.0] * len(rows)
    for name in dict.fromkeys(name for row in rows for name in row["split_ms"]):
        heights = [row["split_ms"].get(name, 0.0) for row in rows]
        axes.bar(range(len(rows)), heights, 0.6, bottom=bottoms, label=name)
        bottoms = [below + height for below, height in zip(bottoms, heights, strict=True)]
    _name_cases(axes, range(len(rows)), rows)


def _name_cases(axes: Any, places: Sequence[float], rows: list[dict[str, Any]]) -> None:
    axes.set_xticks(places, [row["case"] for row in rows], fontsize="small")
    if len(rows) > 3:
        axes.tick_params(axis="x", rotation=30)
        for label in axes.get_xticklabels():
            label.set_horizontalalignment("right")


def _bars(axes: Any, rows: list[dict[str, Any]]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row["times"]))
    width = 0.8 / len(names)
    for i, name in enumerate(names):
        heights = [row["times"].get(name, {}).get("median_ms", 0) for row in rows]
        axes.bar([at + i * width for at in range(len(rows))], heights, width, label=name)
    _name_cases(axes, [at + 0.4 for at in range(len(rows))], rows)


_DRAWN = {"conv": _speed_over_rate, "crf_accuracy": _errors, "crf_steps": _steps}
