"""Who may import whom, checked over the sources; prints each offence and exits 1 when there is one.

Python: prototxt_import -> deeplab_repro -> benchmarks -> tests ("is used by"), and inside deeplab_repro
ops -> layers -> network -> crf, predict, ... -> cli. Imports inside functions count too.
C++: core -> cpu | cuda -> bind; torch headers only in bind.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("prototxt_import", "deeplab_repro", "benchmarks", "tests")

# Rank of deeplab_repro's modules: a module may import those of its own rank or below. What is not listed serves
# the command line (rank of predict).
RANKS = {
    "_C": 0,
    "files": 0,
    "ops": 0,
    "atrous": 1,
    "crf": 1,
    "crf_presets": 1,
    "crf_prune": 1,
    "crf_trace": 1,
    "crf_unary": 1,
    "crf_unrolled": 0,
    "fillers": 1,
    "fold": 0,
    "fused": 1,
    "pyramid": 0,
    "palette": 1,
    "metrics": 1,
    "layers": 2,
    "network": 3,
    "prepare": 3,
    "checkpoint": 3,
    "transplant": 4,
    "zoo": 4,
    "ports": 5,
    "models": 5,
    "cli": 9,
    "__main__": 9,
}
TOP_RANK = 6
FORBIDDEN_ANYWHERE = {"prototxt_import": ("torch",)}
INCLUDES = {
    "core": ("csrc/core/",),
    "cpu": ("csrc/core/", "csrc/cpu/"),
    "cuda": ("csrc/core/", "csrc/cuda/"),
}
TORCH_HEADER = re.compile(r"^(torch|ATen|c10|pybind11)/")


def imported_modules(path: Path) -> Iterator[tuple[int, str]]:
    """(line, absolute module) of every import in a file."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = path.relative_to(ROOT).with_suffix("").parts[: -node.level]
                base = ".".join([*package, *filter(None, [base])])
            yield node.lineno, base
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"


def python_offences() -> Iterator[str]:
    for rank, package in enumerate(PACKAGES):
        for path in sorted((ROOT / package).rglob("*.py")):
            if any(parent.is_symlink() for parent in path.parents):
                continue
            where = path.relative_to(ROOT)
            for line, module in imported_modules(path):
                top = module.partition(".")[0]
                if top in PACKAGES and PACKAGES.index(top) > rank:
                    # The bench verb runs the benchmarks that the package carries.
                    yield f"{where}:{line}: {package} must not import {top}"
                if top in FORBIDDEN_ANYWHERE.get(package, ()):
                    yield f"{where}:{line}: {package} must not import {top}"
                if package == "deeplab_repro" and top == package:
                    own = module_rank(where.parts[1].removesuffix(".py"))
                    parts = module.split(".")
                    if where.name != "__init__.py" and len(parts) > 1 and module_rank(parts[1]) > own:
                        yield f"{where}:{line}: {where.parts[1]} must not import {parts[1]} (above it)"


def module_rank(name: str) -> int:
    return RANKS.get(name, TOP_RANK)


def cpp_offences() -> Iterator[str]:
    for room, allowed in INCLUDES.items():
        for path in sorted((ROOT / "csrc" / room).iterdir()):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                match = re.match(r'\s*#\s*include\s*[<"]([^>"]+)[>"]', line)
                if not match:
                    continue
                header = match.group(1)
                if TORCH_HEADER.match(header):
                    yield f"{path.relative_to(ROOT)}:{number}: torch header {header} outside csrc/bind"
                if header.startswith("csrc/") and not header.startswith(allowed):
                    yield f"{path.relative_to(ROOT)}:{number}: csrc/{room} must not include {header}"


def main() -> int:
    offences = [*python_offences(), *cpp_offences()]
    for offence in offences:
        print(offence)
    return bool(offences)


if __name__ == "__main__":
    sys.exit(main())
