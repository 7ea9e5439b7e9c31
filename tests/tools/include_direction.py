"""Which C++ room includes which, checked over the sources; prints each offence and exits 1 when there is one.

    python tests/tools/include_direction.py [--root CHECKOUT]

core -> cpu | cuda -> bind ("is included by"); torch headers only in bind."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# bind, the only torch C++, may include all of csrc.
MAY_INCLUDE = {
    "core": ("csrc/core/",),
    "cpu": ("csrc/core/", "csrc/cpu/"),
    "cuda": ("csrc/core/", "csrc/cuda/"),
}
INCLUDE = re.compile(r'\s*#\s*include\s*[<"]([^>"]+)[>"]')
TORCH_HEADER = re.compile(r"(torch|ATen|c10|caffe2|pybind11)/")


def offences(root: Path) -> Iterator[str]:
    """One line for each include that points the wrong way, or that leaves its direction open."""
    for room, allowed in MAY_INCLUDE.items():
        sources = [path for path in sorted((root / "csrc" / room).rglob("*")) if path.is_file()]
        if not sources:
            yield f"csrc/{room}: no source"
        for path in sources:
            for number, line in enumerate(path.read_text().splitlines(), 1):
                match = INCLUDE.match(line)
                if match is None:
                    continue
                header = match.group(1)
                where = f"{path.relative_to(root)}:{number}"
                if TORCH_HEADER.match(header):
                    yield f"{where}: torch header {header} outside csrc/bind"
                elif header.startswith("csrc/") and not header.startswith(allowed):
                    yield f"{where}: csrc/{room} must not include {header}"
                elif ".." in Path(header).parts:
                    yield f"{where}: {header} instead of its path from the root"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout")
    offending = list(offences(parser.parse_args(arguments).root))
    print("\n".join(offending) if offending else "no include against the direction")
    return bool(offending)


if __name__ == "__main__":
    sys.exit(main())
