"""What verbs print: tables for people, JSON for machines, progress bars only on a terminal."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from deeplab_repro.files.atomic import check_output_file, write_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Element = TypeVar("Element")

# Tables written to a file or a pipe are not folded to a terminal's 80 columns.
PIPE_WIDTH = 160


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

    result = Table(box=SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False)
    for name in columns:
        result.add_column(name, justify="left" if name in left else "right", no_wrap=name not in left, overflow="fold")
    for row in rows:
        result.add_row(*[cell if isinstance(cell, Text) else Text(str(cell)) for cell in row])
    return result


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
