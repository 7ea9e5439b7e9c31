"""What the fully connected CRF is told: its kernels, where they are normalised, the energy between labels."""

from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor

from deeplab_repro.crf.presets import PRESETS, find_preset

Normalization = Literal["no", "before", "after", "symmetric"]


@dataclass(frozen=True, eq=False)
class CRFParams:
    """Parameters of the two Gaussian kernels over pixels.

    Args:
        iterations: Mean-field updates.
        gaussian_weight: Weight of the kernel over positions; 0 drops it.
        gaussian_xy_std: Its standard deviation in pixels.
        bilateral_weight: Weight of the kernel over positions and colours; 0 drops it.
        bilateral_xy_std: Its standard deviation over positions in pixels.
        bilateral_rgb_std: Its standard deviation over colours in grey levels 0..255.
        normalization: Where the filter is divided by the filtered ones: "no", "before", "after" or "symmetric".
            DeepLab's code always divides after it, pydensecrf's default is "symmetric".
        compatibility: None (Potts), or the energy between labels, [L] or [L, L] (symmetrised), which replaces Potts' -1
            and is multiplied by each weight; arrays and lists become tensors.

    Raises:
        ValueError: A standard deviation is not positive and finite, a weight is not finite, the iteration count is no
            whole number or negative, or the normalization is unknown.

    Source:
        Chen et al. 2015, equation 3; the defaults are those of the released DeepLab-LargeFOV.

    Example:
        >>> from deeplab_repro import CRFParams
        >>> CRFParams(bilateral_xy_std=67, bilateral_rgb_std=3).iterations
        10
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
        if self.iterations < 0 or int(self.iterations) != self.iterations:
            raise ValueError(f"CRFParams: iterations must be a whole number, 0 or more, got {self.iterations}")
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
        if self.compatibility is None:
            return
        matrix = torch.as_tensor(self.compatibility)
        object.__setattr__(self, "compatibility", matrix)
        if matrix.dim() not in (1, 2) or matrix.shape[0] != matrix.shape[-1]:
            raise ValueError(f"CRFParams: compatibility must be [L] or [L, L], got {list(matrix.shape)}")

    @classmethod
    def preset(cls, name: str) -> Self:
        """Published parameters by name.

        Args:
            name: One of `preset_names`.

        Returns:
            The parameters, ten iterations and normalisation after the filter included.

        Raises:
            ValueError: No preset has that name; the message lists those known.
        """
        fields = find_preset(name)._asdict()
        del fields["model"]
        return cls(**fields)

    @staticmethod
    def preset_names() -> tuple[str, ...]:
        """The names that `preset` knows; their sources stand in `crf/presets.py`.

        Returns:
            The names, those of v1 first.
        """
        return tuple(PRESETS)


def symmetrized(compatibility: Tensor | None, like: Tensor) -> Tensor | None:
    """A compatibility ready for the mean field: a matrix becomes the mean of itself and its transpose.

    Args:
        compatibility: The energy between labels, [L] or [L, L], or None for Potts.
        like: The tensor whose dtype and device the result has.

    Returns:
        The compatibility, or None for None.

    Source:
        Kraehenbuehl's labelcompatibility.cpp, MatrixCompatibility.

    Example:
        >>> import torch
        >>> from deeplab_repro.crf.params import symmetrized
        >>> symmetrized(torch.tensor([[0, 2], [0, 0]]), torch.zeros(1))
        tensor([[0., 1.],
                [1., 0.]])
    """
    if compatibility is None:
        return None
    compatibility = compatibility.to(like)
    return compatibility if compatibility.dim() == 1 else (compatibility + compatibility.T) / 2
