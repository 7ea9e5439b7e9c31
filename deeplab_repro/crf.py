"""The fully connected CRF of Kraehenbuehl and Koltun (2011) as DeepLab uses it, and its permutohedral lattice."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from deeplab_repro import ops

__all__ = ["CRFParams", "DenseCRF", "PermutohedralLattice"]

Normalization = Literal["no", "before", "after", "symmetric"]


@dataclass(frozen=True, eq=False)
class CRFParams:
    """Parameters of the two Gaussian kernels over pixels.

    Standard deviations are in pixels (``*_xy_std``) and grey levels 0..255 (``bilateral_rgb_std``). A weight of 0
    drops its kernel. ``normalization`` says where the filter is divided by the filtered ones; DeepLab's code always
    divides after it, pydensecrf's default is "symmetric". ``compatibility`` is None (Potts) or the energy between
    labels, [L] or [L, L] (symmetrised), which replaces Potts' -1 and is multiplied by each weight.

    Raises ValueError for a standard deviation that is not positive and finite, a weight that is not finite, a
    negative iteration count, or an unknown normalization.
    """

    iterations: int = 10
    gaussian_weight: float = 3.0
    gaussian_xy_std: float = 3.0
    bilateral_weight: float = 4.0
    bilateral_xy_std: float = 121.0
    bilateral_rgb_std: float = 5.0
    normalization: Normalization = "after"
    compatibility: Tensor | None = None

    NORMALIZATIONS: ClassVar[tuple[str, ...]] = ("no", "before", "after", "symmetric")

    def __post_init__(self) -> None:
        if self.iterations < 0:
            raise ValueError(f"CRFParams: iterations must be 0 or more, got {self.iterations}")
        if self.normalization not in self.NORMALIZATIONS:
            raise ValueError(
                f"CRFParams: normalization must be one of {', '.join(self.NORMALIZATIONS)}, got {self.normalization!r}"
            )
        for name in ("gaussian_weight", "bilateral_weight"):
            if not abs(getattr(self, name)) < float("inf"):
                raise ValueError(f"CRFParams: {name} must be finite, got {getattr(self, name)}")
        for name in ("gaussian_xy_std", "bilateral_xy_std", "bilateral_rgb_std"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"CRFParams: {name} must be positive and finite, got {getattr(self, name)}")
        matrix = self.compatibility
        if matrix is not None and (matrix.dim() not in (1, 2) or matrix.shape[0] != matrix.shape[-1]):
            raise ValueError(f"CRFParams: compatibility must be [L] or [L, L], got {list(matrix.shape)}")


class PermutohedralLattice:
    """The lattice of ``features`` [N, d] (float32 or float64, divided by their standard deviations), built once.

    Raises RuntimeError for features that are not finite or too far from the origin (``ops.lattice_build``).
    """

    def __init__(self, features: Tensor) -> None:
        self.lattice = ops.lattice_build(features)

    @property
    def vertex_count(self) -> int:
        """Vertices that some point splats to."""
        return int(self.lattice.count)

    def filter(self, values: Tensor, reverse: bool = False) -> Tensor:
        """Gaussian-filter ``values`` [N, C]: [N, C], no normalisation; ``reverse`` gives the exact adjoint."""
        return ops.lattice_filter(values, self.lattice, reverse)


def _divided(values: Tensor, std: float) -> Tensor:
    """``values / std``, correctly rounded: CUDA would multiply by the reciprocal of a Python number."""
    return values / torch.full((), std, dtype=values.dtype, device=values.device)


def position_features(height: int, width: int, std: float, *, dtype: torch.dtype, device: torch.device) -> Tensor:
    """[H W, 2]: (x / std, y / std) of every pixel, row by row."""
    y, x = torch.meshgrid(
        torch.arange(height, dtype=dtype, device=device),
        torch.arange(width, dtype=dtype, device=device),
        indexing="ij",
    )
    return _divided(torch.stack((x, y), dim=-1).reshape(-1, 2), std)


def bilateral_features(image: Tensor, xy_std: float, rgb_std: float) -> Tensor:
    """[N, H W, 5]: (x / xy_std, y / xy_std, R / rgb_std, G / rgb_std, B / rgb_std) of images [N, H, W, 3]."""
    count, height, width, _ = image.shape
    position = position_features(height, width, xy_std, dtype=image.dtype, device=image.device)
    color = _divided(image.reshape(count, height * width, 3), rgb_std)
    return torch.cat((position.expand(count, -1, -1), color), dim=-1)


class DenseCRF(nn.Module):
    """Refine label scores with a fully connected CRF: ``crf(image, scores) -> marginals``.

    Source: DeepLab v1 section 4.2 and v2 section 3.3; arithmetic of the original densecrf program.
    """

    METHODS: ClassVar[tuple[str, ...]] = ("lattice",)

    def __init__(self, params: CRFParams | None = None, method: str = "lattice") -> None:
        super().__init__()
        if method not in self.METHODS:
            raise ValueError(f"DenseCRF: method must be one of {', '.join(self.METHODS)}, got {method!r}")
        self.params = params if params is not None else CRFParams()
        self.method = method

    def extra_repr(self) -> str:
        return f"{self.params}, method={self.method!r}"

    def forward(self, image: Tensor, scores: Tensor) -> Tensor:
        """Marginals of the shape and dtype of ``scores``.

        image: [H, W, 3] or [N, H, W, 3] RGB, values 0..255 (uint8 or floating point).
        scores: [L, H, W] or [N, L, H, W] logits, float32 or float64; the unary energy is -scores.

        Raises ValueError when the sizes do not belong together.
        """
        batched = scores.dim() == 4
        if scores.dim() not in (3, 4) or image.dim() != scores.dim():
            raise ValueError(
                "DenseCRF: image must be [H, W, 3] with scores [L, H, W], or [N, H, W, 3] with [N, L, H, W]; got "
                f"{list(image.shape)} and {list(scores.shape)}"
            )
        if not batched:
            image, scores = image[None], scores[None]
        count, labels, height, width = scores.shape
        if tuple(image.shape) != (count, height, width, 3):
            raise ValueError(
                f"DenseCRF: image {list(image.shape)} does not fit scores {list(scores.shape)}; "
                f"it must be [{count}, {height}, {width}, 3]"
            )
        if scores.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"DenseCRF: scores must be float32 or float64, got {scores.dtype}")
        params = self.params
        features, weights = [], []
        if params.gaussian_weight != 0:
            features.append(
                position_features(height, width, params.gaussian_xy_std, dtype=scores.dtype, device=scores.device)[None]
            )
            weights.append(float(params.gaussian_weight))
        if params.bilateral_weight != 0:
            pixels = image.to(device=scores.device, dtype=scores.dtype)
            features.append(bilateral_features(pixels, params.bilateral_xy_std, params.bilateral_rgb_std))
            weights.append(float(params.bilateral_weight))
        compatibility = params.compatibility
        if compatibility is not None:
            compatibility = compatibility.to(scores)
            if compatibility.dim() == 2:
                compatibility = (compatibility + compatibility.T) / 2
        marginals = ops.meanfield(
            -scores.reshape(count, labels, height * width),
            features,
            weights,
            compatibility,
            params.normalization,
            params.iterations,
        ).reshape(count, labels, height, width)
        return marginals if batched else marginals[0]
