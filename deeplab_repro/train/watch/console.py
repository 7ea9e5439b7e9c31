"""Training on the terminal: a progress bar with the time to finish, and the solver's display lines."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from deeplab_repro.train.watch.watchers import Iteration, Start, Values, Watcher

if TYPE_CHECKING:
    from deeplab_repro.train.snapshot import Snapshot


class Console(Watcher):
    """Display lines on standard output, as often as the solver asks.

    On a terminal, standard error shows a bar with speed, loss and time to finish.

    Args:
        quiet: Whether the display lines are left out.
    """

    def __init__(self, quiet: bool = False) -> None:
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._quiet = quiet
        self._bar: Progress | None = None
        if sys.stderr.isatty():
            self._bar = Progress(
                TextColumn("training"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("loss {task.fields[loss]:.4g}"),
                TextColumn("{task.fields[speed]:.2f} it/s"),
                TimeRemainingColumn(),
                console=RichConsole(stderr=True),
                transient=True,
                # Or else lines meant for a file would go to the terminal.
                redirect_stdout=sys.stdout.isatty(),
            )

    def started(self, start: Start) -> None:
        self._say(
            f"{start.net or start.solver}: {start.parameters:,} parameters, iterations {start.first} to {start.stop}, "
            f"{start.device}" + (f" x {start.processes}" if start.processes > 1 else "") + f", seed {start.seed}"
        )
        for note in start.notes:
            self._say(f"note: {note}")
        if self._bar is not None:
            self._bar.start()
            self._bar.add_task("", total=start.stop, completed=start.first, loss=float("nan"), speed=0.0)

    def iterated(self, iteration: Iteration) -> None:
        if self._bar is not None:
            task = self._bar.task_ids[0]
            speed = 1 / iteration.seconds if iteration.seconds > 0 else 0.0
            self._bar.update(task, completed=iteration.number + 1, loss=iteration.smoothed, speed=speed)
        if iteration.displayed:
            # The one loss of most nets is an output, too; of several, or of other outputs, each is told.
            others = {name: values for name, values in iteration.outputs.items() if not _is_loss(values, iteration)}
            self._say(
                f"Iteration {iteration.number}, loss = {iteration.smoothed:g}, lr = {iteration.rate:g}{_listed(others)}"
            )

    def tested(self, updates: int, index: int, outputs: Values) -> None:
        self._say(f"Iteration {updates}, test net #{index}{_listed(outputs)}")

    def debugged(self, line: str) -> None:
        self._say(line)

    def saved(self, files: Snapshot) -> None:
        self._say(f"snapshot {files.state}")

    def closed(self) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _say(self, line: str) -> None:
        if not self._quiet:
            print(line, flush=True)


def _is_loss(values: Sequence[float], iteration: Iteration) -> bool:
    return len(values) == 1 and math.isclose(values[0], iteration.loss, rel_tol=1e-5)


def _listed(outputs: Values) -> str:
    parts = (f"{name} = {' '.join(f'{value:g}' for value in values)}" for name, values in outputs.items())
    return "".join(f", {part}" for part in parts)
