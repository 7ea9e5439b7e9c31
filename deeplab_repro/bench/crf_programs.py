"""One dense CRF as each program runs it: ours, ours in half precision, the exact mode, pydensecrf."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deeplab_repro.bench.cases import CrfCase
from deeplab_repro.crf.model import CRFParams, DenseCRF
from deeplab_repro.data.scenes.scenes import benchmark_scene

Call = Callable[[], Any]

# The exact mode takes time with the square of the pixels.
MOST_EXACT_PIXELS = 200_000
# Bound on what the exact mode may leave out of any marginal, and the thresholds that are tried for it.
EXACT_BOUND = 1e-3
EXACT_THRESHOLDS = (1e-4, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12)


class CrfProblem(NamedTuple):
    """Parameters, images [N, H, W, 3] uint8 and logits [N, L, H, W]."""

    params: CRFParams
    images: Tensor
    scores: Tensor

    def to(self, device: str) -> CrfProblem:
        """The problem on a device."""
        return self._replace(images=self.images.to(device), scores=self.scores.to(device))


def drawn_scores(case: CrfCase, seed: int = 1) -> Tensor:
    """Smooth random logits [L, H, W] of a stride-8 network's kind: about as many confident pixels as doubtful ones."""
    generator = torch.Generator().manual_seed(seed)
    low = torch.randn(1, case.labels, (case.height - 1) // 8 + 1, (case.width - 1) // 8 + 1, generator=generator)
    offsets = torch.arange(-4, 5, dtype=torch.float32)
    row = torch.exp(-0.5 * (offsets / 1.5) ** 2)
    kernel = (row[:, None] * row / row.sum() ** 2).expand(case.labels, 1, 9, 9)
    low = F.conv2d(F.pad(low, (4, 4, 4, 4), mode="replicate"), kernel, groups=case.labels) * 9
    return F.interpolate(low, (case.height, case.width), mode="bilinear", align_corners=True)[0]


def problem_of(case: CrfCase) -> CrfProblem:
    """The case's drawn scenes and scores, on the CPU."""
    params = CRFParams(
        iterations=case.iterations,
        bilateral_xy_std=case.bilateral_xy_std,
        bilateral_rgb_std=case.bilateral_rgb_std,
    )
    seeds = range(case.first_seed, case.first_seed + case.batch)
    scenes = [benchmark_scene(seed, case.height, case.width, case.kind) for seed in seeds]
    scores = [drawn_scores(case, seed + 1) for seed in seeds]
    return CrfProblem(params, torch.from_numpy(np.stack(scenes)), torch.stack(scores))


def programs(case: CrfCase, device: str) -> dict[str, Call]:
    """Each program's call on the case: marginals [N, L, H, W] as a tensor or array.

    "ours"; on CUDA also "float16" (its storage) and, where the pixels are few, "exact"; "pydensecrf" where it is
    there."""
    problem = problem_of(case)
    here = problem.to(device)
    crf = DenseCRF(problem.params)
    calls: dict[str, Call] = {"ours": lambda: crf(here.images, here.scores)}
    if device == "cuda":
        half = DenseCRF(problem.params, storage="float16")
        calls["float16"] = lambda: half(here.images, here.scores)
        if case.batch * case.height * case.width <= MOST_EXACT_PIXELS:
            exact = exact_crf(here)
            calls["exact"] = lambda: exact(here.images, here.scores)
    peer = _pydensecrf(case, problem)
    if peer is not None:
        calls["pydensecrf"] = peer
    return calls


def has_peer() -> bool:
    """Whether pydensecrf can be imported."""
    try:
        import pydensecrf.densecrf  # noqa: F401  # a look at whether it is there
    except ImportError:
        return False
    return True


def exact_crf(problem: CrfProblem) -> DenseCRF:
    """The exact mode that leaves out as much as keeps EXACT_BOUND, or as little as was tried; it has run once."""
    for threshold in EXACT_THRESHOLDS:
        crf = DenseCRF(problem.params, method="exact", skip_below=threshold)
        crf(problem.images, problem.scores)
        if crf.error_bound is not None and bool((crf.error_bound <= EXACT_BOUND).all()):
            break
    return crf


def _pydensecrf(case: CrfCase, problem: CrfProblem) -> Call | None:
    """The same inference by pydensecrf, image by image: marginals [N, L, H, W]; None where it is not installed."""
    try:
        import pydensecrf.densecrf as peer
    except ImportError:
        return None
    params, images, scores = problem.params, problem.images.numpy(), problem.scores.numpy()
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

    return lambda: np.stack([infer_one(*problem) for problem in zip(images, energies, strict=True)])
