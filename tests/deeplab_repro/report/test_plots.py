"""Plots: that they are written, say what they are told, and are the same for the same numbers."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from deeplab_repro.files.images import read_image
from deeplab_repro.report.plots import Panel, paired_bars, save_confusion, save_curves, save_heat_maps


@pytest.fixture
def figures(monkeypatch):
    """Every figure that is written."""
    written, save = [], Figure.savefig

    def savefig(figure, *arguments, **options):
        written.append(figure)
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return written


def test_bars_are_sorted_by_the_second_value_and_absent_names_come_last(figures):
    values = {"old": np.array([0.5, np.nan, 0.25]), "new": np.array([0.25, np.nan, 0.75])}
    svg = paired_bars(("a", "b & c", "d"), values, "IoU")
    assert svg == paired_bars(("a", "b & c", "d"), values, "IoU")
    axes = figures[0].axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["d", "a", "b & c"]
    assert [bar.get_height() for bar in axes.containers[1]][:2] == [75, 25]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["old", "new"]
    assert axes.get_ylabel() == "IoU, %"


def test_a_confusion_shows_the_shares_of_each_row(figures, tmp_path):
    counts = np.array([[3, 1, 0], [0, 0, 0], [0, 2, 2]])
    save_confusion(counts, ("a", "b", "c"), tmp_path / "c.png", "title")
    axes = figures[0].axes[0]
    np.testing.assert_allclose(
        axes.images[0].get_array().filled(np.nan), [[0.75, 0.25, 0], [np.nan] * 3, [0, 0.5, 0.5]]
    )
    assert sorted(text.get_text() for text in axes.texts) == ["25", "50", "50", "75"]
    assert read_image(tmp_path / "c.png").std() > 10
    with pytest.raises(FileNotFoundError, match="none"):
        save_confusion(counts, ("a", "b", "c"), tmp_path / "none" / "c.png")


def test_curves_stand_over_their_places(figures, tmp_path):
    save_curves((1, 2), {"without": (0.1, 0.2), "with": (0.3, 0.4)}, tmp_path / "t.svg", "width", "mean IoU")
    axes = figures[0].axes[0]
    assert [line.get_label() for line in axes.get_lines()] == ["without", "with"]
    np.testing.assert_allclose(axes.get_lines()[1].get_xydata(), [[1, 30], [2, 40]])
    assert (tmp_path / "t.svg").read_text().startswith("<?xml")


def test_heat_maps_share_one_scale_and_ring_the_cell_that_is_named(figures, tmp_path):
    panels = [
        Panel("first", (1, 2.5), (10, 20, 30), [[0.1, 0.2, np.nan], [0.3, 0.4, 0.5]], (1, 2)),
        *(Panel(f"p{index}", (1,), (10,), [[0.9]]) for index in range(4)),
    ]
    save_heat_maps(panels, tmp_path / "h.png", "weight", "xy std", "mean IoU")
    drawn = [axes for axes in figures[0].axes if axes.get_visible() and axes.images]
    assert [axes.get_title() for axes in drawn] == ["first", "p0", "p1", "p2", "p3"]
    assert all(axes.images[0].get_clim() == (10, 90) for axes in drawn)
    assert [label.get_text() for label in drawn[0].get_yticklabels()] == ["1", "2.5"]
    assert drawn[0].get_lines()[0].get_xydata().tolist() == [[2, 1]]
    assert not drawn[1].get_lines()
    assert figures[0].get_supxlabel() == "xy std\nring: the best; hatched: not tried"
    save_heat_maps(panels[1:], tmp_path / "h.png", "weight", "xy std", "mean IoU")
    assert figures[1].get_supxlabel() == "xy std"
