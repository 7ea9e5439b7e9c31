"""What a piece of work notes in its folder, so that it goes on where a kill or an interrupt stopped it.

Two kinds of files. One that is replaced whole, `State` and the settings of `check_record`, is never half-written. One
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
    """sha256 over the contents of files, in hexadecimal digits; OSError for one that cannot be read."""
    digest = hashlib.sha256()
    for file in files:
        with open(file, "rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()


def check_record(file: Path, record: Mapping[str, Any], overwrite: bool = False) -> None:
    """Keep results of different settings apart: note the settings in `file`, or compare with those noted there.

    Raises ValueError when they differ, unless everything is written anew."""
    asked = _as_json(record)
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

    what: the work's name for errors, such as "a search"."""

    def __init__(self, file: Path, what: str, plan: Mapping[str, Any]) -> None:
        self.file, self._what, self._plan = file, what, _as_json(plan)

    def load(self, take: Callable[[dict[str, Any]], None]) -> None:
        """Hand what was saved to `take`, which picks it to pieces; does nothing where there is no file.

        Raises ValueError for the state of another plan, and for one that cannot be read or that `take` finds
        incomplete (ValueError, KeyError, TypeError)."""
        if not self.file.is_file():
            return
        try:
            state = json.loads(self.file.read_text())
            known = state["plan"]
            take(state)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{self.file}: no state of {self._what}, or a damaged one; remove it") from error
        if known != self._plan:
            other = self._what.replace("a ", "another ", 1)
            raise ValueError(
                f"{self.file}: the state of {other} ({_differing(known, self._plan)} differ); choose another folder"
            )

    def save(self, content: Mapping[str, Any]) -> None:
        """Replace the state."""
        write_text(self.file, json.dumps({"plan": self._plan, **content}))


def read_rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and content of each JSON object in a file that holds one a line; none where there is no file.

    A kill cuts a line off anywhere. The beginning of an object is never an object itself: a line that is none was cut
    off, is passed over, and what it told of is done anew. It may stand in the middle where others went on after it."""
    with suppress(FileNotFoundError), file.open("rb") as opened:
        for number, line in enumerate(opened, 1):
            try:
                row = json.loads(line.decode())
            except ValueError:
                continue
            if isinstance(row, dict):
                yield number, row


class Journal:
    """A file of one JSON object a line, to which several processes may add."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """What it holds, as `read_rows`."""
        return read_rows(self.file)

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row, on a new line even where the last one was cut off."""
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
    """Which files each result in a folder was made from; of several notes on a result the last counts."""

    def __init__(self, file: Path) -> None:
        self._journal = Journal(file)
        self._known: dict[str, str] = {}
        for _, row in self._journal.rows():
            self._known.update(row)

    def done(self, results: Iterable[Path], *files: Path) -> bool:
        """Whether every result is there, made from the files as they are now."""
        known = {self._known.get(result.name) if result.is_file() else None for result in results}
        return None not in known and known == {fingerprint(*files)}

    def add(self, results: Iterable[Path], *files: Path) -> None:
        """Note results that are written."""
        digest = fingerprint(*files)
        self._journal.add({result.name: digest for result in results})


class CountedImages:
    """What is counted already, by image and fingerprint of its files, whichever process counted it.

    folder: with counts.RANK.jsonl files; this process adds to its own. shape: of every image's counts.
    Raises ValueError for a line that tells of something else."""

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
        """The counts of an image, None where it is not counted yet, or from other files."""
        if (name, files) not in self._known:
            return None
        places, values = self._known[name, files]
        counts = np.zeros(self._shape, np.int64)
        counts.flat[places] = values
        return counts

    def add(self, name: str, files: str, counts: NDArray[np.int64]) -> None:
        """Note an image's counts."""
        places = np.flatnonzero(counts)
        self._own.add({"name": name, "files": files, "places": places.tolist(), "values": counts.flat[places].tolist()})


def _as_json(record: Mapping[str, Any]) -> dict[str, Any]:
    """As it comes back from a file: tuples are lists there."""
    return json.loads(json.dumps(record))


def _differing(known: Any, asked: Mapping[str, Any]) -> str:
    return ", ".join(name for name in asked if not isinstance(known, dict) or known.get(name) != asked[name])
