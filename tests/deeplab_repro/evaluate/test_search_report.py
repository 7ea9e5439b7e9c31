"""The search's results as panels of a heat map."""

import numpy as np

from deeplab_repro.evaluate.crf_search import Setting
from deeplab_repro.evaluate.search_report import heat_maps


def test_heat_maps_have_a_panel_for_each_of_the_best_colour_reaches():
    results = {
        Setting(w, xy, 2 * c): {"miou": w * xy * c / 1e4} for w in (1, 2) for xy in (10, 20) for c in range(1, 15)
    }
    best = max(results, key=lambda setting: results[setting]["miou"])
    panels = heat_maps(results, best)
    assert [panel.title for panel in panels] == [f"rgb std {2 * c}" for c in range(3, 15)]
    assert (panels[-1].rows, panels[-1].columns, panels[-1].ring) == ([1, 2], [10, 20], (1, 1))
    np.testing.assert_allclose(panels[-1].shares, np.outer((1, 2), (10, 20)) * 14 / 1e4)
    assert all(panel.ring is None for panel in panels[:-1])
