"""The dense CRF on drawn scenes, against pydensecrf where that can be imported."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deeplab_repro.crf import CRFParams, DenseCRF, PermutohedralLattice, bilateral_features
from deeplab_repro.data.scenes import benchmark_scene

from .cases import CrfCase
from .timing import alternate

# Pixels whose label may differ between two programs or devices: near ties fall to rounding.
LABEL_TOLERANCE = 1e-4


def bench_crf(
    cases: Iterable[CrfCase],
    device: str,
    seconds: float = 20.0,
    progress: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """One row per case: two runs equal to the bit, labels equal to the CPU's (on CUDA) and to pydensecrf's (where it
    is there) but for near ties, then times; no times where one of these fails."""
    rows = []
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
    return f"{head}  " + "  ".join(cells)


def drawn_scores(case: CrfCase, seed: int = 1) -> Tensor:
    """Smooth random logits [L, H, W] of a stride-8 network's kind: about as many confident pixels as doubtful ones."""
    generator = torch.Generator().manual_seed(seed)
    low = torch.randn(1, case.labels, (case.height - 1) // 8 + 1, (case.width - 1) // 8 + 1, generator=generator)
    offsets = torch.arange(-4, 5, dtype=torch.float32)
    row = torch.exp(-0.5 * (offsets / 1.5) ** 2)
    kernel = (row[:, None] * row / row.sum() ** 2).expand(case.labels, 1, 9, 9)
    low = F.conv2d(F.pad(low, (4, 4, 4, 4), mode="replicate"), kernel, groups=case.labels) * 9
    return F.interpolate(low, (case.height, case.width), mode="bilinear", align_corners=True)[0]


def _bench_case(case: CrfCase, device: str, seconds: float) -> dict[str, Any]:
    image = torch.from_numpy(benchmark_scene(0, case.height, case.width, case.kind))
    scores = drawn_scores(case)
    params = CRFParams(
        iterations=case.iterations,
        bilateral_xy_std=case.bilateral_xy_std,
        bilateral_rgb_std=case.bilateral_rgb_std,
    )
    crf = DenseCRF(params)
    image_here, scores_here = image.to(device), scores.to(device)
    calls: dict[str, Callable[[], object]] = {"ours": lambda: crf(image_here, scores_here)}
    first, second = crf(image_here, scores_here), crf(image_here, scores_here)
    labels = first.argmax(0).cpu().numpy()
    wrong = [] if torch.equal(first, second) else ["two runs differ"]
    differing: dict[str, float] = {}
    if device != "cpu":
        differing["cpu"] = float((crf(image, scores).argmax(0).numpy() != labels).mean())
    peer = _pydensecrf(case, params, image.numpy(), scores.numpy())
    if peer is not None:
        calls["pydensecrf"] = peer
        differing["pydensecrf"] = float((peer().argmax(0).reshape(labels.shape) != labels).mean())
    wrong += [f"{share:.1e} of the labels differ from {name}" for name, share in differing.items()
              if not share <= LABEL_TOLERANCE]  # fmt: skip
    features = bilateral_features(image[None].float(), case.bilateral_xy_std, case.bilateral_rgb_std)[0]
    row: dict[str, Any] = {
        "case": case.name,
        "shape": asdict(case),
        "device": device,
        "vertices_per_pixel": round(PermutohedralLattice(features).vertex_count / labels.size, 3),
        "labels_differing": differing,
        "passed": not wrong,
        "wrong": wrong,
    }
    if not wrong:
        row["times"] = {name: asdict(t) for name, t in alternate(calls, device, rounds=5, seconds=seconds).items()}
    return row


def _pydensecrf(
    case: CrfCase, params: CRFParams, image: np.ndarray, scores: np.ndarray
) -> Callable[[], np.ndarray] | None:
    """The same inference by pydensecrf: a call that gives marginals [L, H W]; None where it is not installed."""
    try:
        import pydensecrf.densecrf as peer
    except ImportError:
        return None
    energy = np.ascontiguousarray(-scores.reshape(case.labels, -1))
    pixels = np.ascontiguousarray(image)

    def infer() -> np.ndarray:
        crf = peer.DenseCRF2D(case.width, case.height, case.labels)
        crf.setUnaryEnergy(energy)
        crf.addPairwiseGaussian(
            sxy=params.gaussian_xy_std, compat=params.gaussian_weight, normalization=peer.NORMALIZE_AFTER
        )
        crf.addPairwiseBilateral(
            sxy=params.bilateral_xy_std,
            srgb=params.bilateral_rgb_std,
            rgbim=pixels,
            compat=params.bilateral_weight,
            normalization=peer.NORMALIZE_AFTER,
        )
        return np.array(crf.inference(case.iterations))

    return infer
