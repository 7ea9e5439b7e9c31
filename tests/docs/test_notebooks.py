"""The notebooks of examples/ run from top to bottom in a new folder, as Jupyter would run them."""

import json

import pytest
from matplotlib import pyplot

from tests.paths import ROOT

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def code_cells(notebook):
    """The source of the code cells, in order."""
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_there_is_one_for_each_start():
    assert [notebook.stem for notebook in NOTEBOOKS] == ["convert", "crf", "own_data"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_a_notebook_runs_and_its_own_checks_hold(notebook, tmp_path, monkeypatch):
    pyplot.switch_backend("Agg")
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    cells = code_cells(notebook)
    assert sum("assert " in cell for cell in cells) >= 1
    try:
        for number, cell in enumerate(cells):
            # Plain Python, without a magic word: a kernel does nothing else with it.
            exec(compile(cell, f"{notebook.name}, cell {number}", "exec"), names)
    finally:
        pyplot.close("all")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_a_notebook_is_kept_without_output(notebook):
    for cell in json.loads(notebook.read_text("utf-8"))["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
    assert notebook.stat().st_size < 20_000
