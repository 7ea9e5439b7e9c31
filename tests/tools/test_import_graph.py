"""A wrong import, planted into a copy of the sources, is found wherever it stands."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLANTS = {
    "at module level": "from deeplab_repro.cli import app\n",
    "in a function": "def colours():\n    from deeplab_repro.cli import app\n\n    return app\n",
    "for type checking": "import typing\n\nif typing.TYPE_CHECKING:\n    from deeplab_repro.cli import app\n",
}


@pytest.fixture
def sources(tmp_path):
    """A copy of what the checks read."""
    for folder in ("prototxt_import", "deeplab_repro", "benchmarks", "csrc"):
        ignored = shutil.ignore_patterns("__pycache__", "*.so", "results")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def append(path: Path, text: str) -> None:
    path.write_text(f"{path.read_text()}\n\n{text}")


def run(*command: str, folder: Path) -> tuple[int, str]:
    """Exit code, output with its line breaks taken out (import-linter wraps)."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "400"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def lint_imports(folder: Path) -> tuple[int, str]:
    pytest.importorskip("importlinter")
    call = "from importlinter.cli import lint_imports_command; lint_imports_command(['--no-cache'])"
    return run(sys.executable, "-c", call, folder=folder)


def import_graph(folder: Path) -> tuple[int, str]:
    return run(sys.executable, str(ROOT / "tests/tools/import_graph.py"), "--root", str(folder), folder=folder)


def include_direction(folder: Path) -> tuple[int, str]:
    return run(sys.executable, str(ROOT / "tests/tools/include_direction.py"), "--root", str(folder), folder=folder)


@pytest.mark.parametrize("plant", PLANTS.values(), ids=PLANTS)
def test_an_import_of_a_room_above_is_found(sources, plant):
    append(sources / "deeplab_repro/files/palette.py", plant)
    code, said = lint_imports(sources)
    assert code == 1
    assert "deeplab_repro.files is not allowed to import deeplab_repro.cli" in said
    code, said = import_graph(sources)
    assert code == 1
    assert "upward: deeplab_repro.files.palette:" in said
    assert "circle of rooms: deeplab_repro." in said


@pytest.mark.parametrize(
    ("module", "target"),
    [
        ("deeplab_repro/layers/pool.py", "benchmarks.gpu_gate"),
        ("deeplab_repro/layers/pool.py", "tests"),
        ("prototxt_import/paths.py", "torch"),
        ("prototxt_import/paths.py", "deeplab_repro.files.palette"),
        ("deeplab_repro/data/sets/balance.py", "deeplab_repro.data.scenes.canvas"),
        ("deeplab_repro/evaluate/metrics.py", "deeplab_repro.train.settings"),
        ("deeplab_repro/evaluate/metrics.py", "deeplab_repro"),
    ],
)
def test_what_a_package_must_not_know_is_found(sources, module, target):
    append(sources / module, f"def planted():\n    import {target}\n")
    code, said = lint_imports(sources)
    assert code == 1
    assert f"{module.removesuffix('.py').replace('/', '.')} -> {target}" in said


def test_a_room_without_a_place_is_found(sources):
    (sources / "deeplab_repro/attic").mkdir()
    (sources / "deeplab_repro/attic/__init__.py").write_text("")
    (sources / "deeplab_repro/files/cellar").mkdir()
    (sources / "deeplab_repro/files/cellar/rats.py").write_text("")
    code, said = lint_imports(sources)
    assert code == 1
    assert "attic" in said
    code, said = import_graph(sources)
    assert code == 1
    assert "no floor: deeplab_repro.attic" in said
    assert f"no __init__.py: {sources / 'deeplab_repro/files/cellar'}" in said


@pytest.mark.parametrize(
    ("source", "header", "complaint"),
    [
        ("core/conv/window.h", "torch/extension.h", "torch header torch/extension.h outside csrc/bind"),
        ("cpu/crf/lattice.cpp", "ATen/ATen.h", "torch header ATen/ATen.h outside csrc/bind"),
        ("core/conv/window.h", "csrc/cpu/parallel.h", "csrc/core must not include csrc/cpu/parallel.h"),
        ("cpu/crf/lattice.cpp", "csrc/bind/checks.h", "csrc/cpu must not include csrc/bind/checks.h"),
        ("core/conv/window.h", "../../cpu/parallel.h", "../../cpu/parallel.h instead of its path from the root"),
    ],
)
def test_a_wrong_include_is_found(sources, source, header, complaint):
    assert include_direction(sources) == (0, "no include against the direction")
    append(sources / "csrc" / source, f'#include "{header}"\n')
    code, said = include_direction(sources)
    assert code == 1
    assert f"csrc/{source}:" in said
    assert complaint in said
