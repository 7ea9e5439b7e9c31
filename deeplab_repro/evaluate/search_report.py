"""What a finished search of the CRF's parameters has to tell: a table of all settings and their heat maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from deeplab_repro.evaluate.crf_search import Search, Setting
from deeplab_repro.report.plots import Panel

MOST_PANELS = 12


def search_facts(search: Search) -> dict[str, Any]:
    """The best setting, the scores without CRF, what was searched, and every setting, the best first."""
    best = search.best()
    ranked = sorted(search.results, key=lambda setting: (-search.results[setting]["miou"], setting))
    return {
        "best": {**best._asdict(), **search.results[best]},
        "without_crf": search.baseline,
        "search": search.plan.record(),
        "settings": [{**setting._asdict(), **search.results[setting]} for setting in ranked],
    }


def heat_maps(results: Mapping[Setting, Mapping[str, float]], best: Setting) -> list[Panel]:
    """Mean IoU over weight (rows) and xy std (columns), one panel for each rgb std, a ring around the best setting.

    Args:
        results: Scores by setting.
        best: The best of them.

    Returns:
        The panels; of more than 12 rgb stds those with the best settings.
    """
    highest: dict[float, float] = {}
    for setting, scores in results.items():
        highest[setting.rgb_std] = max(scores["miou"], highest.get(setting.rgb_std, 0.0))
    shown = sorted(sorted(sorted(highest), key=highest.__getitem__)[-MOST_PANELS:])
    return [_panel(results, rgb_std, best if best.rgb_std == rgb_std else None) for rgb_std in shown]


def _panel(results: Mapping[Setting, Mapping[str, float]], rgb_std: float, best: Setting | None) -> Panel:
    miou = {setting: scores["miou"] for setting, scores in results.items() if setting.rgb_std == rgb_std}
    weights, xy_stds = sorted({setting.weight for setting in miou}), sorted({setting.xy_std for setting in miou})
    shares = np.full((len(weights), len(xy_stds)), np.nan)
    for setting, share in miou.items():
        shares[weights.index(setting.weight), xy_stds.index(setting.xy_std)] = share
    ring = None if best is None else (weights.index(best.weight), xy_stds.index(best.xy_std))
    return Panel(f"rgb std {rgb_std:g}", weights, xy_stds, shares, ring)
