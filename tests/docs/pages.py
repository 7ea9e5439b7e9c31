"""Code blocks of Markdown pages, and how they are run: commands and Python in this process, in one folder."""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# "..." stands for what is left out, in a line or of lines.
SAME = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Block:
    """A fenced block.

    `console` holds commands after "$ " with their output, `python` code whose output is the `text` block after it, `sh`
    commands on files that only the reader has."""

    language: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page in order."""
    text = page.read_text("utf-8")
    return [Block(each[1], each[2], text.count("\n", 0, each.start()) + 1) for each in FENCE.finditer(text)]


def commands(block: Block) -> Iterator[tuple[list[str], str]]:
    """(words of a command, the output shown below it) of a console block."""
    for part in re.split(r"^\$ ", block.text.replace("\\\n", " "), flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield shlex.split(command, comments=True), output


def verbs(block: Block) -> Iterator[list[str]]:
    """The `deeplab` commands of an sh block, as words."""
    for line in block.text.replace("\\\n", " ").splitlines():
        for command in re.split(r"; |&&", line):
            words = shlex.split(command, comments=True)
            if "deeplab" in words[:6]:
                yield words[words.index("deeplab") + 1 :]


def run(page: Path, deeplab: Callable[..., Any]) -> int:
    """Run a page's console and python blocks, compare what they print with what the page shows, and count them."""
    names: dict[str, Any] = {"__name__": "__main__"}
    ran, parts = 0, blocks(page)
    for block, after in zip(parts, [*parts[1:], None], strict=True):
        where = f"{page.name}:{block.line}"
        if block.language == "console":
            for words, shown in commands(block):
                assert words[0] == "deeplab", f"{where}: console blocks hold deeplab's commands, not {words[0]}"
                done = deeplab(*words[1:])
                assert done.exit_code == 0, f"{where}: {' '.join(words)}: {done.output}"
                compare(shown, done.output, where)
                ran += 1
        elif block.language == "python":
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(block.text, where, "exec"), names)
            compare(after.text if after is not None and after.language == "text" else "", printed.getvalue(), where)
            ran += 1
    return ran


def compare(shown: str, printed: str, where: str) -> None:
    """Fail where what was printed is not what the page shows."""
    checker, example = doctest.OutputChecker(), doctest.Example("", shown)
    if not checker.check_output(shown, printed, SAME):
        difference = checker.output_difference(example, printed, SAME)
        raise AssertionError(f"{where}: prints something else\n{difference}")
