"""Prints the rooms of the Python code, who imports whom and every circle; exits 1 for a circle or an upward arrow.

    python tests/tools/import_graph.py [--modules]

A room is a package directly under `deeplab_repro`, or a package or module directly under `prototxt_import`. Imports
inside functions count, and so do those for type checking alone. The order of the floors is that of the import-linter
contracts in pyproject.toml, which `make lint` holds; here they are only read."""

from __future__ import annotations

import argparse
import ast
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("prototxt_import", "deeplab_repro")
MOST_ROOMS = 24


def modules(root: Path, packages: Iterable[str] = PACKAGES) -> dict[str, Path]:
    """Every module of the packages by its dotted name; a compiled one by its stub, which imports nothing of ours."""
    imports = {}
    for package in packages:
        for path in sorted((root / package).rglob("*.py*")):
            if path.suffix not in (".py", ".pyi"):
                continue
            parts = path.relative_to(root).with_suffix("").parts
            imports[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return imports


def imports(name: str, path: Path, known: Mapping[str, Path]) -> Iterator[tuple[int, str]]:
    """(line, module) of each import of a known module; `from package import name` is of the module of that name where
    there is one."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            above = parts[: len(parts) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            targets = [f"{base}.{alias.name}" if f"{base}.{alias.name}" in known else base for alias in node.names]
        else:
            continue
        for target in dict.fromkeys(targets):
            if target in known and target != name:
                yield node.lineno, target


def room(module: str) -> str:
    """The room of a module; the files at the top of a package are its roof."""
    return ".".join(module.split(".")[:2])


def circles(arrows: Mapping[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one node (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    components: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(arrows.get(node, ())):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            component = []
            while True:
                component.append(stack.pop())
                if component[-1] == node:
                    break
            if len(component) > 1:
                components.append(sorted(component))

    for node in sorted(arrows):
        if node not in index:
            visit(node)
    return components


def floors(root: Path) -> dict[str, int]:
    """The floor of each room, from the top, as the layered contracts of pyproject.toml have them.

    Rooms with `|` between them share a floor and do not import each other; a name in parentheses may be absent."""
    settings = tomllib.loads((root / "pyproject.toml").read_text()).get("tool", {}).get("importlinter", {})
    imports = {}
    for contract in settings.get("contracts", []):
        for container in contract["containers"] if contract["type"] == "layers" else ():
            for floor, names in enumerate(contract["layers"]):
                for name in names.split("|"):
                    imports[f"{container}.{name.strip(' ()')}"] = floor
    return imports


def main(arguments: list[str] | None = None) -> int:
    """Print the graph; 1 where there is a circle, an upward arrow, a room without a floor, or too many rooms."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--modules", action="store_true", help="name the imports behind each arrow")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout")
    options = parser.parse_args(arguments)
    known = modules(options.root)
    files = {name: list(imports(name, path, known)) for name, path in known.items()}
    by_module = {name: {target for _, target in targets} for name, targets in files.items()}
    rooms: dict[str, set[str]] = {room(name): set() for name in known}
    behind: dict[tuple[str, str], list[str]] = {}
    for name, targets in files.items():
        for line, target in targets:
            if room(target) != room(name):
                rooms[room(name)].add(room(target))
                behind.setdefault((room(name), room(target)), []).append(f"{name}:{line} -> {target}")
    floor = floors(options.root)
    bad = []
    for name in sorted(rooms, key=lambda room: (room.split(".")[0], floor.get(room, 99), room)):
        print(f"{floor.get(name, '-'):>3} {name:<32} -> {', '.join(sorted(t.split('.')[-1] for t in rooms[name]))}")
        for target in sorted(rooms[name]):
            if options.modules:
                print("".join(f"        {reason}\n" for reason in behind[name, target]), end="")
            same = name.split(".")[0] == target.split(".")[0]
            if same and name in floor and target in floor and floor[name] >= floor[target]:
                bad.append(f"upward: {behind[name, target][0]}")
    bad += [f"circle of rooms: {', '.join(circle)}" for circle in circles(rooms)]
    bad += [f"circle of modules: {', '.join(circle)}" for circle in circles(by_module)]
    inside = [room for room in rooms if (options.root / "deeplab_repro" / room.removeprefix("deeplab_repro.")).is_dir()]
    bad += [f"no floor: {name}" for name in rooms if "." in name and name not in floor]
    # What lies in a folder that is no package is in no wheel, and import-linter does not see it.
    folders = {path.parent for path in known.values()}
    bad += [f"no __init__.py: {folder}" for folder in sorted(folders) if not (folder / "__init__.py").exists()]
    if len(inside) > MOST_ROOMS:
        bad.append(f"{len(inside)} rooms in deeplab_repro, at most {MOST_ROOMS}")
    print(f"{len(known)} modules, {len(inside)} rooms in deeplab_repro, {sum(map(len, rooms.values()))} arrows")
    print("\n".join(bad) if bad else "no circle, no upward arrow")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
