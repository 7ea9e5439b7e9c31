"""The loss curve of a run as a picture, or as a page with its facts and pictures."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deeplab_repro.files.atomic import check_output_file, replacing, write_text
from deeplab_repro.train.watch.watchers import Iteration, Start, Values, Watcher, logged_before

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf", ".html")


class Curve(Watcher):
    """Writes the loss curve at every snapshot and at the end.

    Args:
        path: A .png, .svg, .pdf or .html file; the latter also has the facts of the run, the test nets' outputs and the
            last sample pictures.
        log: The JsonLog file of the run; one that goes on takes the iterations before from it.

    Raises:
        ValueError: The suffix is another one.
        OSError: The file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], log: str | os.PathLike[str] | None = None) -> None:
        self._path = Path(path)
        self._log = None if log is None else Path(log)
        if self._path.suffix not in SUFFIXES:
            raise ValueError(f"--report {path}: must end in {', '.join(SUFFIXES)}")
        check_output_file(path)
        self.wants_pictures = self._path.suffix == ".html"
        self._start: Start | None = None
        self._rows: list[Iteration] = []
        self._tests: list[tuple[int, int, Values]] = []
        self._pictures: dict[str, NDArray[Any]] = {}

    def started(self, start: Start) -> None:
        self._start = start
        if start.first and self._log is not None:
            for row in logged_before(self._log, start.first):
                with suppress(KeyError):
                    self._add_logged(row)

    def _add_logged(self, row: Mapping[str, Any]) -> None:
        if "test" in row:
            self._tests.append((row["updates"], row["test"], row["outputs"]))
        elif "iteration" in row:
            facts = row["iteration"], row["loss"], row["smoothed"], row["lr"], row["seconds"]
            self._rows.append(Iteration(*facts))

    def iterated(self, iteration: Iteration) -> None:
        self._rows.append(iteration)

    def tested(self, updates: int, index: int, outputs: Values) -> None:
        self._tests.append((updates, index, outputs))

    def pictured(self, updates: int, pictures: Mapping[str, NDArray[Any]]) -> None:
        self._pictures = dict(pictures)

    def saved(self, files: object) -> None:
        self._write()

    def closed(self) -> None:
        self._write()

    def _write(self) -> None:
        if not self._rows or self._start is None:
            return
        if self._path.suffix == ".html":
            write_text(self._path, self._page(self._start))
            return
        with replacing(self._path) as temporary:
            self._figure().savefig(temporary, dpi=150)

    def _figure(self) -> Figure:
        from matplotlib.figure import Figure

        from deeplab_repro.report.plots import GRID, PALE, STRONG, style

        figure = Figure(figsize=(8, 4.2), layout="constrained")
        axes = figure.subplots()
        at = np.array([row.number for row in self._rows])
        axes.plot(at, [row.loss for row in self._rows], color=PALE, linewidth=0.8, label="loss of the iteration")
        axes.plot(at, [row.smoothed for row in self._rows], color=STRONG, linewidth=1.6, label="smoothed")
        axes.set_xlabel("iteration")
        axes.set_ylabel("loss")
        axes.set_ylim(bottom=0)
        rates = axes.twinx()
        rates.plot(at, [row.rate for row in self._rows], color="#c77700", linewidth=1, linestyle=":", label="rate")
        rates.set_ylabel("learning rate")
        rates.set_ylim(bottom=0)
        lines = [*axes.get_lines(), *rates.get_lines()]
        for each in (axes, rates):
            style(each)
        axes.grid(axis="y", color=GRID, linewidth=0.6)
        axes.legend(lines, [str(line.get_label()) for line in lines], frameon=False, fontsize=8)
        return figure

    def _before(self, start: Start) -> str:
        """Where the iterations before the first of this run are."""
        if not start.first:
            return ""
        if self._rows[0].number < start.first:
            return f"; those before {start.first} from {self._log}"
        return f"; those before {start.first} are not shown: no --log has them"

    def _page(self, start: Start) -> str:
        from deeplab_repro.report.html import png_address, render, svg_address

        drawn = io.BytesIO()
        self._figure().savefig(drawn, format="svg")
        last = self._rows[-1]
        seconds = sum(row.seconds for row in self._rows)
        facts = [
            ("solver", start.solver),
            ("parameters", f"{start.parameters:,}"),
            ("iterations", f"{self._rows[0].number} to {last.number + 1} of {start.stop}{self._before(start)}"),
            ("seed", start.seed),
            ("device", f"{start.device} x {start.processes}"),
            ("time", f"{seconds:.0f} s, {seconds / len(self._rows):.3g} s an iteration"),
            ("last loss", f"{last.smoothed:.5g} (smoothed)"),
            *(("note", note) for note in start.notes),
        ]
        tests = [
            (updates, index, ", ".join(f"{name} {' '.join(f'{v:.4g}' for v in vs)}" for name, vs in outputs.items()))
            for updates, index, outputs in self._tests
        ]
        return render(
            __package__,
            "train.html.j2",
            title=f"Training {start.net or start.solver}",
            facts=facts,
            tests=tests,
            plot=svg_address(drawn.getvalue()),
            pictures=[(caption, png_address(picture)) for caption, picture in self._pictures.items()],
        )
