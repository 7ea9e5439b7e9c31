"""The dense CRF on drawn scenes, against pydensecrf where that can be imported: labels, times, parts and memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

import torch

from deeplab_repro.bench.cases import CrfCase
from deeplab_repro.bench.crf_memory import cuda_peak_mib, peak_mib
from deeplab_repro.bench.crf_programs import Call, CrfProblem, exact_crf, has_peer, problem_of, programs
from deeplab_repro.bench.crf_split import split_ms
from deeplab_repro.bench.timing import alternate
from deeplab_repro.crf.features import PermutohedralLattice, bilateral_features
from deeplab_repro.crf.model import DenseCRF

# Pixels whose label may differ between two programs or devices: near ties fall to rounding.
LABEL_TOLERANCE = 1e-4
# The same for half precision and for the lattice's own error against the exact mode.
LOOSE_TOLERANCE = {"float16": 2e-3, "exact": 0.1}

# The original program's time over pydensecrf's, both on one thread of one machine (21 labels, 10 iterations, 4/67/3; 19
# labels at 2048 x 1024), on photographs with the kinds' number of vertices: what "ours" would be against it.
ORIGINAL_OVER_PYDENSECRF = {
    ("busy", 375, 500): 1888 / 1741,
    ("smooth", 375, 500): 800 / 537,
    ("busy", 321, 321): 822 / 684,
    ("smooth", 1024, 2048): 8643 / 6420,
}


def bench_crf(
    cases: Iterable[CrfCase],
    device: str,
    seconds: float = 20.0,
    progress: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """One row per case: two runs equal to the bit, labels equal to the CPU's (on CUDA) and to pydensecrf's (where it
    is there) but for near ties, then times; no times where one of these fails."""
    rows = []
    if not has_peer():
        progress("pydensecrf is not here to be timed beside ours: pip install pydensecrf2")
    for case in cases:
        row = _bench_case(case, device, seconds)
        progress(format_row(row))
        rows.append(row)
    return rows


def format_row(row: dict[str, Any]) -> str:
    """One line: the case, its vertices per pixel, each program's time and speed relative to ours."""
    head = f"{row['case']:<32} {row['vertices_per_pixel']:.2f} vertices/pixel"
    if not row["passed"]:
        return f"{head} WRONG: {', '.join(row['wrong'])}"
    times = row["times"]
    ours = times["ours"]["median_ms"]
    cells = [f"{name} {t['median_ms']:9.3f} ms {t['median_ms'] / ours:5.2f}x" for name, t in times.items()]
    if "over_original" in row:
        cells.append(f"the original program about {row['over_original']:.1f}x")
    if "exact" in row:
        cells.append(f"exact skips below {row['exact']['skip_below']:.0e}, bound {row['exact']['error_bound']:.1e}")
    split = ", ".join(f"{part} {ms:.2f}" for part, ms in row["split_ms"].items())
    memory = ", ".join(f"{name} {mib:.0f}" for name, mib in row["peak_mib"].items() if mib is not None)
    return f"{head}  " + "  ".join(cells) + f"  ({split} ms; MiB: {memory or 'unknown'})"


def _bench_case(case: CrfCase, device: str, seconds: float) -> dict[str, Any]:
    problem = problem_of(case)
    calls = programs(case, device)
    differing, wrong = _check(problem, calls, device)
    features = bilateral_features(problem.images[:1].float(), case.bilateral_xy_std, case.bilateral_rgb_std)[0]
    row: dict[str, Any] = {
        "case": case.name,
        "shape": asdict(case),
        "device": device,
        "vertices_per_pixel": round(PermutohedralLattice(features).vertex_count / len(features), 3),
        "labels_differing": differing,
        "passed": not wrong,
        "wrong": wrong,
    }
    if wrong:
        return row
    row["times"] = {name: asdict(t) for name, t in alternate(calls, device, rounds=5, seconds=seconds).items()}
    row["split_ms"] = split_ms(calls["ours"], device)
    row["peak_mib"] = {
        name: peak_mib(case, name) if device == "cpu" or name == "pydensecrf" else cuda_peak_mib(call)
        for name, call in calls.items()
    }
    if "pydensecrf" in calls:
        ratio = ORIGINAL_OVER_PYDENSECRF.get((case.kind, case.height, case.width))
        if ratio is not None and case.labels == 21:
            theirs, ours = (row["times"][name]["median_ms"] for name in ("pydensecrf", "ours"))
            row["over_original"] = ratio * theirs / ours
    if "exact" in calls:
        crf = exact_crf(problem.to(device))
        bound = float(crf.error_bound.max()) if crf.error_bound is not None else 0.0
        row["exact"] = {"skip_below": crf.skip_below, "error_bound": bound}
    return row


def _check(problem: CrfProblem, calls: dict[str, Call], device: str) -> tuple[dict[str, float], list[str]]:
    """Share of pixels whose label differs between ours and each other program; what is wrong, in words."""
    first, second = calls["ours"](), calls["ours"]()
    labels = first.argmax(1).cpu().numpy()
    wrong = [] if torch.equal(first, second) else ["two runs differ"]
    others = {name: call for name, call in calls.items() if name != "ours"}
    if device != "cpu":
        others["cpu"] = lambda: DenseCRF(problem.params)(problem.images, problem.scores)
    differing: dict[str, float] = {}
    for name, call in others.items():
        marginals = call()
        marginals = marginals.cpu().numpy() if isinstance(marginals, torch.Tensor) else marginals
        differing[name] = float((marginals.argmax(1) != labels).mean())
        if not differing[name] <= LOOSE_TOLERANCE.get(name, LABEL_TOLERANCE):
            wrong.append(f"{differing[name]:.1e} of the labels differ from {name}")
    return differing, wrong
