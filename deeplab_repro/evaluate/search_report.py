"""What a finished search of the CRF's parameters has to tell: a table of all settings and their heat maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from deeplab_repro.evaluate.crf_search import Search, Setting
from deeplab_repro.report.plots import Panel

MOST_PANELS = 12
AXES = {"weight": "weight", "xy_std": "xy std", "rgb_std": "rgb std"}


def search_facts(search: Search) -> dict[str, Any]:
    """The best setting, the scores without CRF, what was searched, what to think of it, and every setting, the best
    first."""
    best = search.best()
    ranked = sorted(search.results, key=lambda setting: (-search.results[setting]["miou"], setting))
    return {
        "best": {**best._asdict(), **search.results[best]},
        "without_crf": search.baseline,
        "search": search.plan.record(),
        "notes": search_notes(search),
        "settings": [{**setting._asdict(), **search.results[setting]} for setting in ranked],
    }


def search_notes(search: Search) -> list[str]:
    """What the best setting does not tell by itself.

    Args:
        search: A finished search.

    Returns:
        Sentences: that no CRF was better than any, that the best lies at an edge of what was tried.
    """
    best, notes = search.best(), []
    if search.baseline["miou"] >= search.results[best]["miou"]:
        notes.append(
            f"no CRF was best: {100 * search.baseline['miou']:.2f} % without it, "
            f"{100 * search.results[best]['miou']:.2f} % at most with it"
        )
    for name, words in AXES.items():
        tried = sorted({getattr(setting, name) for setting in search.results})
        value = getattr(best, name)
        if len(tried) > 1 and value in (tried[0], tried[-1]):
            where, further = ("lowest", "lower") if value == tried[0] else ("highest", "higher")
            option = f"--bilateral-{name.replace('_', '-')}"
            notes.append(f"the best {words}, {value:g}, is the {where} that was tried: try {further} ones ({option})")
    return notes


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
