"""What the permutohedral lattice costs in accuracy: its mean field against the exact one on real images."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deeplab_repro.bench.cases import CrfCase
from deeplab_repro.bench.crf_programs import drawn_scores
from deeplab_repro.crf.model import CRFParams, DenseCRF
from deeplab_repro.data.scenes.scenes import draw_scene
from deeplab_repro.files.images import read_image

PHOTOGRAPHS = Path(__file__).resolve().parents[2] / "shared" / "voc_sample" / "JPEGImages"
# Weight, position std and colour std of the bilateral kernel: sharp to broad.
PARAMETERS = {f"{w}/{xy}/{rgb}": (w, xy, rgb) for w, xy, rgb in ((4, 67, 3), (4, 49, 5), (5, 50, 10), (4, 121, 5))}
ITERATIONS = (1, 10)
LABELS = 21


def bench_accuracy(
    device: str,
    images: Path | None = None,
    count: int = 4,
    size: int = 96,
    only: str = "",
    progress: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """One row per parameters and iterations: the lattice's marginals against the exact mode's, nothing skipped.

    Over `count` square crops of `size` pixels, from the middle of the images in the folder `images` (.jpg, .png); the
    photographs beside the checkout where they are there, else drawn scenes. The exact mode sums over all pairs of a
    crop's pixels. Logits are drawn: smooth, as of a network of stride 8. Raises ValueError for a folder without images.
    """
    crops, source = _crops(images, count, size)
    cases = [CrfCase("busy", crop.shape[0], crop.shape[1], LABELS) for crop in crops]
    scores = [drawn_scores(case, seed + 1) for seed, case in enumerate(cases)]
    rows = []
    for name, (weight, xy, rgb) in PARAMETERS.items():
        if not re.search(only, name):
            continue
        for iterations in ITERATIONS:
            params = CRFParams(
                bilateral_weight=weight, bilateral_xy_std=xy, bilateral_rgb_std=rgb, iterations=iterations
            )
            row = {"case": f"{name} it{iterations}", "device": device, "images": source, "size": size, "passed": True}
            row |= _errors(params, crops, scores, device)
            progress(format_row(row))
            rows.append(row)
    return rows


def format_row(row: dict[str, Any]) -> str:
    """One line: the parameters, the differences of the marginals, the share of labels that differ."""
    return (
        f"{row['case']:<16} {row['images']}: max|dQ| {row['max_dq']:.2e}  mean|dQ| {row['mean_dq']:.2e}  "
        f"labels {row['labels_differing']:.2e}  (CRF changes {row['labels_changed']:.2e} of the labels)"
    )


def _errors(
    params: CRFParams, crops: Sequence[NDArray[np.uint8]], scores: Sequence[torch.Tensor], device: str
) -> dict[str, float]:
    most, total, values, differing, changed, pixels = 0.0, 0.0, 0, 0, 0, 0
    for crop, logits in zip(crops, scores, strict=True):
        image, here = torch.from_numpy(crop).to(device), logits.to(device)
        lattice = DenseCRF(params)(image, here)
        exact = DenseCRF(replace(params), method="exact")(image, here)
        difference = (lattice - exact).abs()
        most = max(most, float(difference.max()))
        total += float(difference.double().sum())
        values += difference.numel()
        labels = exact.argmax(0)
        differing += int((lattice.argmax(0) != labels).sum())
        changed += int((here.argmax(0) != labels).sum())
        pixels += labels.numel()
    return {
        "max_dq": most,
        "mean_dq": total / values,
        "labels_differing": differing / pixels,
        "labels_changed": changed / pixels,
    }


def _crops(images: Path | None, count: int, size: int) -> tuple[list[NDArray[np.uint8]], str]:
    """RGB crops [<= size, <= size, 3], and where they are from."""
    folder = images if images is not None else PHOTOGRAPHS
    files = sorted(path for path in folder.glob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if images is not None and not files:
        raise ValueError(f"{images}: no .jpg or .png image to measure the accuracy on")
    pictures = [read_image(file) for file in files[:count]]
    source = f"{len(pictures)} photographs"
    if not pictures:
        pictures = [draw_scene(seed)[0] for seed in range(count)]
        source = f"{count} drawn scenes"
    crops = []
    for picture in pictures:
        top, left = (max(0, (side - size) // 2) for side in picture.shape[:2])
        crops.append(np.ascontiguousarray(picture[top : top + size, left : left + size]))
    return crops, f"{source} cropped to {size}x{size}"
