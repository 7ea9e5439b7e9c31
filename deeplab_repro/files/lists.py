"""Lists of files as text: one image, and what belongs to it, a line."""

from __future__ import annotations

from pathlib import Path


def read_pairs(file: Path, words: int = 2) -> list[tuple[int, list[str]]]:
    """Read the words of every line that is not blank.

    Args:
        file: The list.
        words: How many each line has at least.

    Returns:
        (line number, words) of each line.

    Raises:
        OSError: The file cannot be read.
        ValueError: The list is empty, no text, or has a line of fewer words; the message names file and line.
    """
    try:
        lines = file.read_text().splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: not a text file: {error.reason}") from error
    pairs = [(number, line.split()) for number, line in enumerate(lines, 1) if line.strip()]
    if not pairs:
        raise ValueError(f"{file}: the list is empty")
    for number, given in pairs:
        if len(given) < words:
            raise ValueError(f"{file}:{number}: a line holds an image and its label, found {' '.join(given)[:80]!r}")
    return pairs
