"""The rows as a picture."""

import json

import pytest
from matplotlib.figure import Figure

from deeplab_repro.bench import plot
from tests.paths import ROOT


def test_nothing_timed_is_nothing_to_draw(tmp_path):
    with pytest.raises(ValueError, match="nothing was timed"):
        plot.plot({"machine": {}, "net": [{"passed": False, "times": {}}]}, tmp_path / "no.png")


@pytest.mark.parametrize("name", ["crf-cpu", "net-cpu", "conv-cpu-41"])
def test_every_axis_says_what_it_is_and_names_keep_their_colours(name, tmp_path, monkeypatch):
    report = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())
    drawn = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda figure, *to, **how: drawn.append(figure) or save(figure, *to, **how))
    plot.plot(report, tmp_path / "rows.png")
    (figure,) = drawn
    assert (tmp_path / "rows.png").stat().st_size > 1000
    assert report["machine"]["cpu"] in figure.get_suptitle()
    colours = {}
    for axes in figure.axes:
        assert axes.get_xlabel()
        assert axes.get_title(loc="left")
        for line in axes.get_lines():
            if not line.get_label().startswith("_"):
                assert colours.setdefault(line.get_label(), line.get_color()) == line.get_color()
