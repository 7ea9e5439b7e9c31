"""Who looks on while a net is trained: each is told what happened and decides what to do with it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from numpy.typing import NDArray

from deeplab_repro.files.atomic import check_output_file, write_text
from deeplab_repro.files.ledger import read_rows

if TYPE_CHECKING:
    from deeplab_repro.train.snapshot import Snapshot

Values = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Start:
    """A run before its first iteration.

    Args:
        solver: The solver's file.
        net: The net's name.
        first: The first iteration, counted from 0.
        stop: The updates after which it ends.
        seed: Of the process generator.
        device: Where the net runs.
        processes: How many there are.
        parameters: Learnable numbers of the net.
        notes: Sentences worth knowing, such as which layers fillers drew.
    """

    solver: str
    net: str
    first: int
    stop: int
    seed: int
    device: str
    processes: int
    parameters: int
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Iteration:
    """What an iteration gave.

    Args:
        number: Counted from 0.
        loss: The mean over its passes.
        smoothed: The mean over the last average_loss iterations.
        rate: The learning rate.
        seconds: It took.
        displayed: Whether the solver asks to show it.
        outputs: Numbers by blob, empty where nobody asked.
    """

    number: int
    loss: float
    smoothed: float
    rate: float
    seconds: float
    displayed: bool = False
    outputs: Values = field(default_factory=dict)


class Watcher:
    """Base of all: does nothing. wants_pictures: whether `pictured` is worth its forward pass."""

    wants_pictures = False

    def started(self, start: Start) -> None:
        """Told before the first iteration.

        Args:
            start: What is begun.
        """

    def iterated(self, iteration: Iteration) -> None:
        """Told after each iteration.

        Args:
            iteration: What it gave.
        """

    def tested(self, updates: int, index: int, outputs: Values) -> None:
        """Told after a test phase.

        Args:
            updates: Done so far.
            index: Of the test net.
            outputs: The mean of each output over its passes, by blob.
        """

    def pictured(self, updates: int, pictures: Mapping[str, NDArray[Any]]) -> None:
        """Shown a training example.

        Args:
            updates: Done so far.
            pictures: RGB uint8 [H, W, 3] by caption.
        """

    def debugged(self, line: str) -> None:
        """Told each line that the solver's debug_info asks for.

        Args:
            line: The line.
        """

    def saved(self, files: Snapshot) -> None:
        """Told after a snapshot.

        Args:
            files: The snapshot's.
        """

    def closed(self) -> None:
        """Told at the end, whatever it was."""


def logged_before(path: Path, first: int) -> list[dict[str, Any]]:
    """Read the rows of a JsonLog that tell of what came before an iteration.

    Args:
        path: The log.
        first: The iteration.

    Returns:
        The rows; none where there is no file.
    """
    kept = []
    for _, row in read_rows(path):
        with suppress(TypeError):
            if row.get("iteration", row.get("updates", row.get("start", 0))) < first:
                kept.append(row)
    return kept


class JsonLog(Watcher):
    """One JSON line an iteration, {"iteration": i, "loss": x, "lr": r, ...}; others for start and tests.

    A run that goes on from iteration n keeps the lines before n of a log that is there. Each line is flushed.

    Args:
        path: The log.

    Raises:
        OSError: It cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        check_output_file(path)
        self._path = Path(path)
        self._file: TextIO | None = None

    def started(self, start: Start) -> None:
        kept = logged_before(self._path, start.first) if start.first else []
        if kept:
            # In one go: a kill must not cost the lines of the days before.
            write_text(self._path, "".join(f"{json.dumps(row)}\n" for row in kept))
        self._file = self._path.open("a" if kept else "w", encoding="utf-8")
        self._write({"start": start.first, "stop": start.stop, "solver": start.solver, "seed": start.seed,
                     "device": start.device, "processes": start.processes, "notes": list(start.notes)})  # fmt: skip

    def iterated(self, iteration: Iteration) -> None:
        row: dict[str, Any] = {
            "iteration": iteration.number,
            "loss": iteration.loss,
            "lr": iteration.rate,
            "smoothed": iteration.smoothed,
        }
        row["seconds"] = round(iteration.seconds, 6)
        if iteration.outputs:
            row["outputs"] = iteration.outputs
        self._write(row)

    def tested(self, updates: int, index: int, outputs: Values) -> None:
        self._write({"test": index, "updates": updates, "outputs": outputs})

    def _write(self, row: Mapping[str, Any]) -> None:
        if self._file is not None:
            # NaN is no JSON, but a loss that is none ends the run before it is logged.
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()

    def closed(self) -> None:
        if self._file is not None:
            self._file.close()


class TensorBoard(Watcher):
    """Scalars and sample pictures for TensorBoard.

    Args:
        folder: Where they are written.

    Raises:
        ImportError: The package tensorboard is not there.
    """

    wants_pictures = True

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ImportError("--tensorboard: needs tensorboard; `pip install deeplab-repro[train]`") from error
        self._folder, self._open = os.fspath(folder), SummaryWriter
        self._writer: Any = None

    def started(self, start: Start) -> None:
        # Points of an earlier attempt from here on are hidden.
        self._writer = self._open(self._folder, purge_step=start.first)

    def iterated(self, iteration: Iteration) -> None:
        self._writer.add_scalar("train/loss", iteration.loss, iteration.number)
        self._writer.add_scalar("train/smoothed_loss", iteration.smoothed, iteration.number)
        self._writer.add_scalar("train/learning_rate", iteration.rate, iteration.number)
        self._add(iteration.outputs, "outputs", iteration.number)

    def tested(self, updates: int, index: int, outputs: Values) -> None:
        self._add(outputs, f"test{index}", updates)

    def _add(self, outputs: Values, group: str, at: int) -> None:
        for name, values in outputs.items():
            for i, value in enumerate(values):
                self._writer.add_scalar(f"{group}/{name}" + (f"_{i}" if len(values) > 1 else ""), value, at)

    def pictured(self, updates: int, pictures: Mapping[str, NDArray[Any]]) -> None:
        for caption, picture in pictures.items():
            self._writer.add_image(caption, picture, updates, dataformats="HWC")

    def closed(self) -> None:
        if self._writer is not None:
            self._writer.close()
