"""Lists of files as text: one image, and what belongs to it, a line."""

from __future__ import annotations

from pathlib import Path


def read_pairs(file: Path, words: int = 2) -> list[tuple[int, list[str]]]:
    """(line number, words) of every line that is not blank, each with at least so many words.

    Raises OSError when the file cannot be read, ValueError naming it and the line otherwise."""
    try:
        lines = file.read_text().splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: not a text file: {error.reason}") from error
    pairs = [(number, line.split()) for number, line in enumerate(lines, 1) if line.strip()]
    if not pairs:
        raise ValueError(f"{file}: the list is empty")
    for number, found in pairs:
        if len(found) < words:
            raise ValueError(f"{file}:{number}: a line holds an image and its label, found {' '.join(found)[:80]!r}")
    return pairs
