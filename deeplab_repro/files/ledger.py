"""Counts of finished images in a folder: one JSON line each, in one file for each process."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class Record:
    """What is counted already, by image and fingerprint of its files, whichever process counted it.

    folder: with counts.RANK.jsonl files; this process adds to its own. shape: of every image's counts.
    A last line that was cut off by a kill is dropped. Raises ValueError for a file that holds something else."""

    def __init__(self, folder: Path, rank: int, shape: tuple[int, ...]) -> None:
        self._shape = shape
        self._file = folder / f"counts.{rank}.jsonl"
        self._known: dict[tuple[str, str], tuple[list[int], list[int]]] = {}
        for file in sorted(folder.glob("counts.*.jsonl")):
            self._read(file, own=file == self._file)

    def _read(self, file: Path, own: bool) -> None:
        content = file.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        # Another process may be in the middle of its last line; what is ours was cut off.
        if own and len(whole) < len(content):
            with file.open("r+b") as opened:
                opened.truncate(len(whole))
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                facts = json.loads(line)
                places, values = facts["places"], facts["values"]
                if len(places) != len(values) or max(places, default=0) >= np.prod(self._shape):
                    raise ValueError("its numbers do not fit")
                self._known[facts["name"], facts.get("files", "")] = places, values
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{file}:{number}: no counts of an image ({error}); remove the file") from error

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
        line = {"name": name, "files": files, "places": places.tolist(), "values": counts.flat[places].tolist()}
        with self._file.open("a") as file:
            file.write(json.dumps(line) + "\n")
