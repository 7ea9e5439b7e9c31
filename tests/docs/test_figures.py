"""The figures of the pages are those that docs/figures.py draws."""

import importlib.util

from tests.paths import ROOT

DOCS = ROOT / "docs"


def figures():
    """docs/figures.py as a module."""
    spec = importlib.util.spec_from_file_location("figures", DOCS / "figures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_figure_is_drawn_kept_and_shown(tmp_path):
    module = figures()
    module.draw(tmp_path)
    drawn = {file.name for file in tmp_path.iterdir() if file.stat().st_size}
    assert drawn == set(module.FIGURES) == {file.name for file in (DOCS / "figures").iterdir()}
    pages = "".join(page.read_text("utf-8") for page in DOCS.rglob("*.md"))
    for name in drawn:
        assert f"figures/{name})" in pages


def test_figures_are_small():
    for file in (DOCS / "figures").iterdir():
        assert file.stat().st_size <= 160_000, file.name
