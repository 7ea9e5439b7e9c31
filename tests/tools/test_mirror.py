"""Every module of deeplab_repro with behaviour has a test file of its stem in the mirrored folder."""

import ast
from pathlib import Path

import pytest

from tests.paths import ROOT

ROOM, TESTS = ROOT / "deeplab_repro", ROOT / "tests" / "deeplab_repro"
# Modules whose tests stand elsewhere, where, and why.
ELSEWHERE = {
    "compat/pydensecrf/arguments.py": ("compat/test_pydensecrf.py", "the package is judged as pydensecrf's stand-in"),
    "compat/pydensecrf/densecrf.py": ("compat/test_pydensecrf.py", "as above"),
    "compat/pydensecrf/pairwise.py": ("compat/test_pydensecrf.py", "as above"),
    "compat/pydensecrf/unary.py": ("compat/test_pydensecrf.py", "as above"),
    "compat/pydensecrf/utils.py": ("compat/test_pydensecrf.py", "as above"),
    "data/feeds/feed.py": ("data/feeds/test_feeds.py", "an interface and a table, which opening feeds uses"),
    "data/feeds/planner.py": ("data/feeds/test_feeds.py", "its draws are seen in the recorded batches alone"),
    "data/scenes/objects.py": (
        "data/scenes/test_scenes.py",
        "shapes draw from one stream: the picture is what is held",
    ),
    "data/scenes/street.py": ("data/scenes/test_scenes.py", "as above"),
    "zoo/parts.py": ("zoo/test_vgg16.py", "one helper of the builders"),
}


def has_behaviour(module: Path) -> bool:
    """Whether a module defines functions or classes; a package's own file only names what its modules hold."""
    tree = ast.parse(module.read_text("utf-8"))
    return module.name != "__init__.py" and any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in tree.body)


MODULES = [path.relative_to(ROOM).as_posix() for path in sorted(ROOM.rglob("*.py")) if has_behaviour(path)]


@pytest.mark.parametrize("module", MODULES)
def test_a_module_has_tests_of_its_stem(module):
    path = Path(module)
    mirrored = path.with_name(f"test_{path.name}")
    if module in ELSEWHERE:
        assert not (TESTS / mirrored).exists(), f"{mirrored} is there: take {module} out of ELSEWHERE"
        mirrored = Path(ELSEWHERE[module][0])
    assert (TESTS / mirrored).is_file(), f"{module}: write tests/deeplab_repro/{mirrored}, or say in ELSEWHERE why not"
    assert "def test_" in (TESTS / mirrored).read_text("utf-8")


def test_every_exception_is_of_a_module():
    assert set(ELSEWHERE) <= set(MODULES)
