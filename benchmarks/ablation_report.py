"""What the ablation's runs say about the papers' orderings, seed by seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import mean, stdev
from typing import Any, NamedTuple


class Ordering(NamedTuple):
    """model and gain: what gains by what; better and worse: (arm, stage); published: the difference in mean IoU points,
    None where only words say so, and where it stands."""

    model: str
    gain: str
    better: tuple[str, str]
    worse: tuple[str, str]
    published: float | None
    source: str


ORDERINGS = (
    Ordering(
        "LargeFOV", "poly over step", ("poly", "network"), ("step", "network"), 1.17,
        "v2 table 2: 63.42 for 62.25, batch 30, 6k",
    ),
    Ordering(
        "ASPP-S", "over LargeFOV", ("aspp_s", "network"), ("poly", "network"), 1.22, "v2 table 3: 66.98 for 65.76"
    ),
    Ordering(
        "ASPP-L", "over LargeFOV", ("aspp_l", "network"), ("poly", "network"), 3.20, "v2 table 3: 68.96 for 65.76"
    ),
    Ordering(
        "ASPP-L", "over ASPP-S", ("aspp_l", "network"), ("aspp_s", "network"), 1.98, "v2 table 3: 68.96 for 66.98"
    ),
    Ordering(
        "LargeFOV", "trained on scaled images", ("scales", "network"), ("poly", "network"), 1.59,
        "v2 table 4, ResNet-101: 74.87 for 73.28",
    ),
    Ordering("LargeFOV", "CRF", ("poly", "crf"), ("poly", "network"), 4.08, "v2 table 3: 69.84 for 65.76"),
    Ordering("ASPP-S", "CRF", ("aspp_s", "crf"), ("aspp_s", "network"), 2.75, "v2 table 3: 69.73 for 66.98"),
    Ordering("ASPP-L", "CRF", ("aspp_l", "crf"), ("aspp_l", "network"), 2.61, "v2 table 3: 71.57 for 68.96"),
    Ordering(
        "LargeFOV", "three scales at test", ("poly", "msc"), ("poly", "network"), 2.55,
        "v2 table 4, ResNet-101, trained with it too: 71.27 for 68.72",
    ),
    *(
        Ordering(head, f"stride {finer} over {coarser}, at test", (arm, of_finer), (arm, of_coarser), None,
                 "v2 section 3.1: denser scores")
        for arm, head in (("poly", "LargeFOV"), ("aspp_s", "ASPP-S"), ("aspp_l", "ASPP-L"))
        for finer, of_finer, coarser, of_coarser in ((8, "stride 8", 16, "network"), (16, "network", 32, "stride 32"))
    ),
)  # fmt: skip

STAGES = ("network", "crf", "msc", "stride 8", "stride 32")


def compare(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each ordering that at least one seed has both sides of: differences in points of mean IoU, seed by seed.

    verdict: "agrees" or "disagrees" where the seeds are of one mind, at least two of them, else "unclear"."""
    miou = {(run["arm"], stage, run["seed"]): run[stage]["miou"] for run in results for stage in STAGES if stage in run}
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
                "model": order.model,
                "gain": order.gain,
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
    others = [stage for stage in STAGES[2:] if any(stage in run for run in results)]
    heads = "".join(f" {stage:>14}" for stage in others)
    out(f"{'arm':<8} {'seeds':>5} {'mIoU':>14} {'after CRF':>14} {'trimap 5':>9} {'after CRF':>9}{heads}")
    for arm in dict.fromkeys(run["arm"] for run in results):
        runs = [run for run in results if run["arm"] == arm]
        cells = [_spread([100 * run[stage]["miou"] for run in runs]) for stage in ("network", "crf")]
        near = [mean(100 * run[stage]["trimap_miou"]["5"] for run in runs) for stage in ("network", "crf")]
        tail = "".join(
            f" {_spread([100 * run[stage]['miou'] for run in runs if stage in run]):>14}" for stage in others
        )
        out(f"{arm:<8} {len(runs):>5} {cells[0]:>14} {cells[1]:>14} {near[0]:>9.2f} {near[1]:>9.2f}{tail}")
    for row in compare(results):
        said = row["published_points"]
        published = "published" if said is None else f"published {said:+.2f}"
        out(
            f"{row['model']}, {row['gain']}: {_spread(row['points'])} points, {published} ({row['source']}): "
            f"{row['verdict']}"
        )


def _spread(values: Sequence[float]) -> str:
    if not values:
        return ""
    return f"{mean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")
