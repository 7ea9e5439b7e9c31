"""The dense CRF on drawn scenes, against pydensecrf where that can be imported: labels, times, parts and memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deeplab_repro.crf import CRFParams, DenseCRF, PermutohedralLattice, bilateral_features
from deeplab_repro.data.scenes import benchmark_scene
from deeplab_repro.ops import lattice_build

from .cases import CrfCase
from .crf_memory import peak_mib
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
    split = ", ".join(f"{part} {ms:.1f}" for part, ms in row["split_ms"].items())
    memory = ", ".join(f"{name} {mib:.0f}" for name, mib in row["peak_mib"].items() if mib is not None)
    return f"{head}  " + "  ".join(cells) + f"  ({split} ms; MiB: {memory or 'unknown'})"


def drawn_scores(case: CrfCase, seed: int = 1) -> Tensor:
    """Smooth random logits [L, H, W] of a stride-8 network's kind: about as many confident pixels as doubtful ones."""
    generator = torch.Generator().manual_seed(seed)
    low = torch.randn(1, case.labels, (case.height - 1) // 8 + 1, (case.width - 1) // 8 + 1, generator=generator)
    offsets = torch.arange(-4, 5, dtype=torch.float32)
    row = torch.exp(-0.5 * (offsets / 1.5) ** 2)
    kernel = (row[:, None] * row / row.sum() ** 2).expand(case.labels, 1, 9, 9)
    low = F.conv2d(F.pad(low, (4, 4, 4, 4), mode="replicate"), kernel, groups=case.labels) * 9
    return F.interpolate(low, (case.height, case.width), mode="bilinear", align_corners=True)[0]


def programs(case: CrfCase, device: str) -> dict[str, Callable[[], Any]]:
    """Each program's call on the case: marginals [N, L, H, W] as a tensor or array; pydensecrf where it is there."""
    params, images, scores = _problem(case)
    crf, images_here, scores_here = DenseCRF(params), images.to(device), scores.to(device)
    calls: dict[str, Callable[[], Any]] = {"ours": lambda: crf(images_here, scores_here)}
    peer = _pydensecrf(case, params, images.numpy(), scores.numpy())
    if peer is not None:
        calls["pydensecrf"] = peer
    return calls


def _problem(case: CrfCase) -> tuple[CRFParams, Tensor, Tensor]:
    """Parameters, images [N, H, W, 3] and logits [N, L, H, W]."""
    params = CRFParams(
        iterations=case.iterations,
        bilateral_xy_std=case.bilateral_xy_std,
        bilateral_rgb_std=case.bilateral_rgb_std,
    )
    scenes = [benchmark_scene(seed, case.height, case.width, case.kind) for seed in range(case.batch)]
    scores = [drawn_scores(case, seed + 1) for seed in range(case.batch)]
    return params, torch.from_numpy(np.stack(scenes)), torch.stack(scores)


def _bench_case(case: CrfCase, device: str, seconds: float) -> dict[str, Any]:
    params, images, scores = _problem(case)
    calls = programs(case, device)
    first, second = calls["ours"](), calls["ours"]()
    labels = first.argmax(1).cpu().numpy()
    wrong = [] if torch.equal(first, second) else ["two runs differ"]
    differing: dict[str, float] = {}
    if device != "cpu":
        differing["cpu"] = float((DenseCRF(params)(images, scores).argmax(1).numpy() != labels).mean())
    if "pydensecrf" in calls:
        differing["pydensecrf"] = float((calls["pydensecrf"]().argmax(1) != labels).mean())
    wrong += [f"{share:.1e} of the labels differ from {name}" for name, share in differing.items()
              if not share <= LABEL_TOLERANCE]  # fmt: skip
    features = bilateral_features(images[:1].float(), case.bilateral_xy_std, case.bilateral_rgb_std)[0]
    row: dict[str, Any] = {
        "case": case.name,
        "shape": asdict(case),
        "device": device,
        "vertices_per_pixel": round(PermutohedralLattice(features).vertex_count / len(features), 3),
        "labels_differing": differing,
        "passed": not wrong,
        "wrong": wrong,
    }
    if not wrong:
        row["times"] = {name: asdict(t) for name, t in alternate(calls, device, rounds=5, seconds=seconds).items()}
        row["split_ms"] = _split(params, images.to(device), scores.to(device), device, seconds)
        row["peak_mib"] = {name: peak_mib(case, name, device if name == "ours" else "cpu") for name in calls}
    return row


def _split(params: CRFParams, images: Tensor, scores: Tensor, device: str, seconds: float) -> dict[str, float]:
    """Milliseconds of our program's parts: building all lattices, the rest before the first iteration, an iteration."""
    features = DenseCRF(params).problem(images, scores).features
    count = max(1, params.iterations)
    calls: dict[str, Callable[[], Any]] = {
        "build": lambda: [lattice_build(image) for kernel in features for image in kernel],
        "none": lambda crf=DenseCRF(replace(params, iterations=0)): crf(images, scores),
        "all": lambda crf=DenseCRF(replace(params, iterations=count)): crf(images, scores),
    }
    build, none, all_ = (each.median_ms for each in alternate(calls, device, rounds=5, seconds=seconds / 2).values())
    return {"build": build, "start": max(0.0, none - build), "iteration": (all_ - none) / count}


def _pydensecrf(
    case: CrfCase, params: CRFParams, images: np.ndarray, scores: np.ndarray
) -> Callable[[], np.ndarray] | None:
    """The same inference by pydensecrf, image by image: marginals [N, L, H, W]; None where it is not installed."""
    try:
        import pydensecrf.densecrf as peer
    except ImportError:
        return None
    energies = np.ascontiguousarray(-scores.reshape(case.batch, case.labels, -1))

    def infer_one(pixels: np.ndarray, energy: np.ndarray) -> np.ndarray:
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
        return np.array(crf.inference(case.iterations)).reshape(scores.shape[1:])

    return lambda: np.stack([infer_one(*each) for each in zip(images, energies, strict=True)])
