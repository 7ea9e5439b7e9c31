"""What verbs print: tables for people, JSON for machines, progress bars only on a terminal."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from deeplab_repro.files.atomic import check_output_file, write_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Element = TypeVar("Element")

# Tables written to a file or a pipe are not folded to a terminal's 80 columns.
PIPE_WIDTH = 160
# Letters of a word that a table does not break, the first of these that fits its width.
WHOLE = (40, 28, 20, 14, 11, 8)


def console() -> Console:
    """A console on standard output: tables fold to its width, lines of text (paths among them) never do."""
    from rich.console import Console

    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPE_WIDTH
    return Console(width=width, highlight=False, soft_wrap=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], left: Sequence[str] = (), title: str = "") -> Table:
    """A plain table; columns named in `left` are text, the others numbers, set to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    result = Table(box=SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False, collapse_padding=True)
    cells = [[cell if isinstance(cell, Text) else Text(str(cell)) for cell in row] for row in rows]
    texts = {at for at, name in enumerate(columns) if name in left}
    shown = [[name, *(row[at].plain for row in cells if at < len(row))] for at, name in enumerate(columns)]
    whole = [max(len(part) for text in column for part in _parts(text, at in texts)) for at, column in enumerate(shown)]
    room = console().width - 2 * len(columns) - 3
    # Names of layers and files stay whole as long as there is room: columns fold at spaces first.
    most = next((most for most in WHOLE if sum(_least(whole, texts, most)) <= room), 0)
    spare = room - sum(_least(whole, texts, most))
    for at, (name, width) in enumerate(zip(columns, _least(whole, texts, most), strict=True)):
        more = min(max(spare, 0), max(map(len, shown[at])) - width) if at in texts else 0
        spare -= more
        result.add_column(
            name,
            justify="left" if at in texts else "right",
            no_wrap=at not in texts,
            overflow="fold",
            width=width + more if at in texts and most else None,
        )
    for row in cells:
        result.add_row(*row)
    return result


def _parts(text: str, folds: bool) -> list[str]:
    """What of a cell stays on one line: its words where it folds, else its lines."""
    return (text.split() if folds else text.splitlines()) or [""]


def _least(whole: Sequence[int], texts: Collection[int], most: int) -> list[int]:
    """Width of each column where words of texts are broken at `most` letters."""
    return [min(width, most) if at in texts else width for at, width in enumerate(whole)]


def print_notes(notes: Sequence[str]) -> None:
    """What the reader of a net took where its text could mean several things (NetSpec.notes), on standard error."""
    for note in notes:
        print(f"note: {note}", file=sys.stderr)


def shape_text(shape: Sequence[int]) -> str:
    """1 x 3 x 321 x 321; '-' for a scalar."""
    return " x ".join(map(str, shape)) or "-"


def progress(items: Iterable[Element], description: str, total: int | None = None) -> Iterator[Element]:
    """The items, with a bar on standard error while they pass; quiet when that is no terminal."""
    from rich.console import Console
    from rich.progress import track

    if not sys.stderr.isatty():
        yield from items
        return
    yield from track(items, description, total=total, console=Console(stderr=True), transient=True)


@contextmanager
def progress_steps(description: str) -> Iterator[Callable[[int, int], None]]:
    """A function of (done, total) that moves a bar on standard error; quiet when that is no terminal."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _plain(value: Any) -> Any:
    """JSON has no NaN, infinity, tuple or path."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    raise TypeError(f"no JSON form for {type(value).__name__}")


def check_json(target: str | None) -> None:
    """Before long work: raise OSError unless --json's file can be written."""
    if target not in (None, "-"):
        check_output_file(target)


def write_json(answer: Any, target: str | None) -> bool:
    """Write the answer where --json says; whether standard output is still free for people."""
    if target is None:
        return True
    text = json.dumps(_plain(answer), indent=1, allow_nan=False)
    if target == "-":
        print(text)
        return False
    write_text(target, text + "\n")
    return True
