"""Which test holds each fact of docs/conformance.md: prints rows per section; exit 1 for a row with no or a wrong test.

    python tests/tools/conformance.py [--root CHECKOUT]

An id is read, not imported: a Python test by its function in the file, a C++ one by its TEST macro, a recording by its
path under tests/golden."""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = Path("docs/conformance.md")
GTEST = re.compile(r"^\s*(?:TYPED_)?TEST(?:_[FP])?\(\s*(\w+)\s*,\s*(\w+)\s*\)", re.MULTILINE)
TICKED = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Row:
    """A fact, and what is said to hold it."""

    line: int
    section: str
    fact: str
    tests: tuple[str, ...]
    recordings: tuple[str, ...]


def read_rows(page: str) -> list[Row]:
    """The rows of every table `| fact | held by |`, in order."""
    rows, section = [], ""
    for number, line in enumerate(page.splitlines(), 1):
        if line.startswith("## "):
            section = line[3:].strip()
        if not section or not line.startswith("|"):
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) != 2:
            raise ValueError(f"{PAGE}:{number}: {len(cells)} cells, not 2 (write a bar inside a cell as \\|)")
        if cells[0] == "fact" or not cells[0].strip("-: "):
            continue
        ticked = TICKED.findall(cells[1])
        tests = tuple(text for text in ticked if "::" in text)
        recordings = tuple(text for text in ticked if "::" not in text)
        rows.append(Row(number, section, cells[0], tests, recordings))
    return rows


@cache
def names_in(path: Path) -> frozenset[str]:
    """Every test in a file: `test_name` and `TestClass::test_name`, or `Suite.Name`."""
    if path.suffix == ".cpp":
        return frozenset(f"{suite}.{name}" for suite, name in GTEST.findall(path.read_text()))
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ClassDef):
            names.update(f"{node.name}::{child.name}" for child in node.body if isinstance(child, ast.FunctionDef))
    return frozenset(name for name in names if name.rpartition("::")[2].startswith("test_"))


def problems(root: Path, rows: list[Row]) -> list[str]:
    """One line for each row whose test or recording does not exist."""
    wrong = []
    for row in rows:
        where = f"{PAGE}:{row.line}"
        for test in row.tests:
            file, _, name = test.partition("::")
            path = root / file
            if not path.is_file():
                wrong.append(f"{where}: no file {file}")
            elif name.partition("[")[0] not in names_in(path):
                wrong.append(f"{where}: no test {name} in {file}")
        for recording in row.recordings:
            if not (root / "tests/golden" / recording).exists():
                wrong.append(f"{where}: no recording tests/golden/{recording}")
    return wrong


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout")
    root = parser.parse_args(arguments).root
    rows = read_rows((root / PAGE).read_text())
    for section, count in Counter(row.section for row in rows).items():
        print(f"{section}: {count} facts")
    wrong = problems(root, rows)
    wrong += [f"{PAGE}:{row.line}: no test: {row.fact}" for row in rows if not row.tests]
    if wrong:
        print("\n".join(wrong))
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
