"""What the ablation's runs say about the papers' orderings, seed by seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import mean, stdev
from typing import Any, NamedTuple


class Ordering(NamedTuple):
    """better and worse: (arm, stage); published: the difference in mean IoU points, and where it stands."""

    better: tuple[str, str]
    worse: tuple[str, str]
    published: float
    source: str


ORDERINGS = (
    Ordering(("poly", "network"), ("step", "network"), 1.17, "v2 table 2: 63.42 for 62.25, batch 30, 6k"),
    Ordering(("aspp_s", "network"), ("poly", "network"), 1.22, "v2 table 3: 66.98 for 65.76"),
    Ordering(("aspp_l", "network"), ("poly", "network"), 3.20, "v2 table 3: 68.96 for 65.76"),
    Ordering(("aspp_l", "network"), ("aspp_s", "network"), 1.98, "v2 table 3: 68.96 for 66.98"),
    Ordering(("scales", "network"), ("poly", "network"), 1.59, "v2 table 4, ResNet-101: 74.87 for 73.28"),
    Ordering(("poly", "crf"), ("poly", "network"), 4.08, "v2 table 3: 69.84 for 65.76"),
    Ordering(("aspp_s", "crf"), ("aspp_s", "network"), 2.75, "v2 table 3: 69.73 for 66.98"),
    Ordering(("aspp_l", "crf"), ("aspp_l", "network"), 2.61, "v2 table 3: 71.57 for 68.96"),
)


def compare(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each ordering that at least one seed has both sides of: differences in points of mean IoU, seed by seed.

    verdict: "agrees" or "disagrees" where the seeds are of one mind, at least two of them, else "unclear"."""
    miou = {(run["arm"], stage, run["seed"]): run[stage]["miou"] for run in results for stage in ("network", "crf")}
    rows = []
    for order in ORDERINGS:
        seeds = sorted(seed for arm, stage, seed in miou if (arm, stage) == order.better)
        seeds = [seed for seed in seeds if (*order.worse, seed) in miou]
        if not seeds:
            continue
        points = [100 * (miou[(*order.better, seed)] - miou[(*order.worse, seed)]) for seed in seeds]
        verdict = "unclear"
        if len(points) > 1 and (min(points) > 0 or max(points) < 0):
            verdict = "agrees" if min(points) > 0 else "disagrees"
        rows.append(
            {
                "better": " ".join(order.better),
                "worse": " ".join(order.worse),
                "published_points": order.published,
                "source": order.source,
                "points": points,
                "mean_points": mean(points),
                "spread_points": stdev(points) if len(points) > 1 else None,
                "verdict": verdict,
            }
        )
    return rows


def print_report(results: Sequence[Mapping[str, Any]], out: Callable[[str], None]) -> None:
    """Mean IoU by arm over its seeds, then the orderings."""
    out(f"{'arm':<8} {'seeds':>5} {'mIoU':>14} {'after CRF':>14} {'trimap 5':>9} {'after CRF':>9}")
    for arm in dict.fromkeys(run["arm"] for run in results):
        runs = [run for run in results if run["arm"] == arm]
        cells = [_spread([100 * run[stage]["miou"] for run in runs]) for stage in ("network", "crf")]
        near = [mean(100 * run[stage]["trimap_miou"]["5"] for run in runs) for stage in ("network", "crf")]
        out(f"{arm:<8} {len(runs):>5} {cells[0]:>14} {cells[1]:>14} {near[0]:>9.2f} {near[1]:>9.2f}")
    for row in compare(results):
        out(
            f"{row['better']} over {row['worse']}: {_spread(row['points'])} points, published "
            f"{row['published_points']:+.2f} ({row['source']}): {row['verdict']}"
        )


def _spread(values: Sequence[float]) -> str:
    return f"{mean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")
