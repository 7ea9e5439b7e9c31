"""What a piece of work notes in its folder, so that it goes on where a kill or an interrupt stopped it.

Two kinds of files. One that is replaced whole, `State` and the settings of `check_origin`, is never half-written. One
that grows by a line a step, `Journal`, may end in half a line: `read_rows` is the one place that knows what such a line
means."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeplab_repro.files.atomic import write_text


def fingerprint(*files: str | os.PathLike[str]) -> str:
    """What tells the contents of files from others.

    Args:
        files: The files, whose order counts.

    Returns:
        The sha256 of their contents' sha256 sums, in hexadecimal digits.

    Raises:
        OSError: A file cannot be read.
    """
    digest = hashlib.sha256()
    for file in files:
        with open(file, "rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()


def check_origin(file: Path, origin: Mapping[str, Any], overwrite: bool = False) -> None:
    """Keep results of different settings apart: note in a file what they come from, or compare with what it notes.

    Args:
        file: The file, beside the results.
        origin: Everything that the results depend on.
        overwrite: Whether everything is written anew.

    Raises:
        ValueError: The results that are there come from other settings.
    """
    asked = _as_json(origin)
    if file.is_file() and not overwrite:
        try:
            known = json.loads(file.read_text())
        except ValueError as error:
            raise ValueError(f"{file}: no record of settings: {error}") from error
        if known != asked:
            raise ValueError(
                f"{file.parent}: holds results of other settings ({_differing(known, asked)} differ); choose another "
                "folder, or write all of it anew"
            )
        return
    write_text(file, json.dumps(asked, indent=1) + "\n")


class State:
    """How far a piece of work is: one JSON file that is replaced whole, with the plan that it is the state of.

    Args:
        file: The file.
        work: The work's name for errors, such as "a search".
        plan: Everything that the work depends on.
    """

    def __init__(self, file: Path, work: str, plan: Mapping[str, Any]) -> None:
        self.file, self._work, self._plan = file, work, _as_json(plan)

    def load(self, take: Callable[[dict[str, Any]], None]) -> None:
        """Hand over what was saved; does nothing where there is no file.

        Args:
            take: Picks it to pieces; raises ValueError, KeyError or TypeError where it is incomplete.

        Raises:
            ValueError: The state is of another plan, cannot be read, or is incomplete.
        """
        if not self.file.is_file():
            return
        try:
            state = json.loads(self.file.read_text())
            known = state["plan"]
            take(state)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{self.file}: no state of {self._work}, or a damaged one; remove it") from error
        if known != self._plan:
            other = self._work.replace("a ", "another ", 1)
            raise ValueError(
                f"{self.file}: the state of {other} ({_differing(known, self._plan)} differ); choose another folder"
            )

    def save(self, content: Mapping[str, Any]) -> None:
        """Replace the state.

        Args:
            content: What `load` is to hand over, of what JSON can hold.

        Raises:
            OSError: The file cannot be written.
        """
        write_text(self.file, json.dumps({"plan": self._plan, **content}))


def read_rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read a file of one JSON object a line.

    A kill cuts a line off anywhere. The beginning of an object is never an object itself: a line that is none was cut
    off, is passed over, and what it told of is done anew. It may stand in the middle where others went on after it.

    Args:
        file: The file.

    Returns:
        Line number and content of each object; none where there is no file.
    """
    with suppress(FileNotFoundError), file.open("rb") as opened:
        for number, line in enumerate(opened, 1):
            try:
                row = json.loads(line.decode())
            except ValueError:
                continue
            if isinstance(row, dict):
                yield number, row


class Journal:
    """A file of one JSON object a line, to which several processes may add.

    Args:
        file: The file, which need not exist.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Read what it holds.

        Returns:
            As `read_rows`.
        """
        return read_rows(self.file)

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row, on a new line even where the last one was cut off.

        Args:
            row: What JSON can hold.
        """
        begin = "\n" if self._ends_in_half_a_line() else ""
        with self.file.open("a", encoding="utf-8") as opened:
            opened.write(f"{begin}{json.dumps(row)}\n")

    def _ends_in_half_a_line(self) -> bool:
        with suppress(FileNotFoundError), self.file.open("rb") as opened:
            if opened.seek(0, os.SEEK_END):
                opened.seek(-1, os.SEEK_END)
                return opened.read(1) != b"\n"
        return False


class Notes:
    """Which files each result in a folder was made from; of several notes on a result the last counts.

    Args:
        file: The journal of notes.
    """

    def __init__(self, file: Path) -> None:
        self._journal = Journal(file)
        self._known: dict[str, str] = {}
        for _, row in self._journal.rows():
            self._known.update(row)

    def done(self, results: Iterable[Path], *files: Path) -> bool:
        """Whether every result is there, made from the files as they are now.

        Args:
            results: The results' files.
            files: What they are made from.

        Returns:
            The answer.
        """
        known = {self._known.get(result.name) if result.is_file() else None for result in results}
        return None not in known and known == {fingerprint(*files)}

    def add(self, results: Iterable[Path], *files: Path) -> None:
        """Note results that are written.

        Args:
            results: The results' files.
            files: What they were made from.
        """
        digest = fingerprint(*files)
        self._journal.add({result.name: digest for result in results})


class CountedImages:
    """What is counted already, by image and fingerprint of its files, whichever process counted it.

    Args:
        folder: With counts.RANK.jsonl files; this process adds to its own.
        rank: Of this process.
        shape: Of every image's counts.

    Raises:
        ValueError: A line tells of something else.
    """

    def __init__(self, folder: Path, rank: int, shape: tuple[int, ...]) -> None:
        self._shape = shape
        self._own = Journal(folder / f"counts.{rank}.jsonl")
        self._known: dict[tuple[str, str], tuple[list[int], list[int]]] = {}
        for file in sorted(folder.glob("counts.*.jsonl")):
            for number, row in read_rows(file):
                self._take(row, f"{file}:{number}")

    def _take(self, row: Mapping[str, Any], where: str) -> None:
        try:
            places, values = row["places"], row["values"]
            if len(places) != len(values) or max(places, default=0) >= np.prod(self._shape):
                raise ValueError("its numbers do not fit")
            self._known[row["name"], row.get("files", "")] = places, values
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{where}: no counts of an image ({error}); remove the file") from error

    def known(self, name: str, files: str) -> NDArray[np.int64] | None:
        """Look an image up.

        Args:
            name: The image's name.
            files: The fingerprint of its files.

        Returns:
            Its counts, int64 of `shape`; None where it is not counted yet, or was from other files.
        """
        if (name, files) not in self._known:
            return None
        places, values = self._known[name, files]
        counts = np.zeros(self._shape, np.int64)
        counts.flat[places] = values
        return counts

    def add(self, name: str, files: str, counts: NDArray[np.int64]) -> None:
        """Note an image's counts.

        Args:
            name: The image's name.
            files: The fingerprint of its files.
            counts: int64 of `shape`.
        """
        places = np.flatnonzero(counts)
        self._own.add({"name": name, "files": files, "places": places.tolist(), "values": counts.flat[places].tolist()})


def _as_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    """As they come back from a file: tuples are lists there."""
    return json.loads(json.dumps(settings))


def _differing(known: Any, asked: Mapping[str, Any]) -> str:
    return ", ".join(name for name in asked if not isinstance(known, dict) or known.get(name) != asked[name])
