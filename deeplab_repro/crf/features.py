"""What the CRF's kernels measure distances in, and the permutohedral lattice that filters over it."""

import torch
from torch import Tensor

from deeplab_repro import ops


def _divided(values: Tensor, std: float) -> Tensor:
    """``values / std``, correctly rounded: CUDA would multiply by the reciprocal of a Python number."""
    return values / torch.full((), std, dtype=values.dtype, device=values.device)


def position_features(height: int, width: int, std: float, *, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The features of the Gaussian kernel: (x / std, y / std) of every pixel, row by row.

    Args:
        height: Rows of the image.
        width: Columns of the image.
        std: The standard deviation in pixels.
        dtype: float32 or float64.
        device: Where the features are made.

    Returns:
        Features [H W, 2].

    Source:
        Kraehenbuehl's densecrf.cpp, addPairwiseGaussian.

    Example:
        >>> import torch
        >>> from deeplab_repro.crf.features import position_features
        >>> position_features(1, 3, 2.0, dtype=torch.float32, device="cpu")
        tensor([[0.0000, 0.0000],
                [0.5000, 0.0000],
                [1.0000, 0.0000]])
    """
    y, x = torch.meshgrid(
        torch.arange(height, dtype=dtype, device=device),
        torch.arange(width, dtype=dtype, device=device),
        indexing="ij",
    )
    return _divided(torch.stack((x, y), dim=-1).reshape(-1, 2), std)


def bilateral_features(image: Tensor, xy_std: float, rgb_std: float) -> Tensor:
    """The features of the bilateral kernel at every pixel: (x, y) / xy_std and (R, G, B) / rgb_std.

    Args:
        image: RGB images [N, H, W, 3], values 0..255, float32 or float64.
        xy_std: The standard deviation over positions in pixels.
        rgb_std: The standard deviation over colours in grey levels.

    Returns:
        Features [N, H W, 5] of the image's dtype.

    Source:
        Kraehenbuehl's densecrf.cpp, addPairwiseBilateral.

    Example:
        >>> import torch
        >>> from deeplab_repro.crf.features import bilateral_features
        >>> bilateral_features(torch.full((1, 1, 1, 3), 255.0), xy_std=121, rgb_std=5)
        tensor([[[ 0.,  0., 51., 51., 51.]]])
    """
    count, height, width, _ = image.shape
    features = image.new_empty(count, height * width, 5)
    features[..., :2] = position_features(height, width, xy_std, dtype=image.dtype, device=image.device)
    features[..., 2:] = _divided(image.reshape(count, height * width, 3), rgb_std)
    return features


class PermutohedralLattice:
    """The permutohedral lattice of points, built once, and its Gaussian filter.

    Args:
        features: Points [N, d], float32 or float64, divided by their standard deviations.

    Raises:
        RuntimeError: Features are not finite or too far from the origin (`ops.lattice_build`).

    Source:
        Adams, Baek and Davis 2010.

    Example:
        >>> import torch
        >>> from deeplab_repro import PermutohedralLattice
        >>> lattice = PermutohedralLattice(torch.zeros(10, 5))
        >>> lattice.vertex_count
        6
        >>> lattice.filter(torch.ones(10, 3)).shape
        torch.Size([10, 3])
    """

    def __init__(self, features: Tensor) -> None:
        self.lattice = ops.lattice_build(features)

    @property
    def vertex_count(self) -> int:
        """Vertices that some point splats to."""
        return int(self.lattice.count)

    def filter(self, values: Tensor, reverse: bool = False) -> Tensor:
        """Gaussian-filter values, without normalisation.

        Args:
            values: [N, C] of the features' dtype.
            reverse: Whether to blur in reverse order, which gives the exact adjoint.

        Returns:
            The filtered values [N, C].

        Raises:
            RuntimeError: The values have another shape, dtype or device (`ops.lattice_filter`).
        """
        return ops.lattice_filter(values, self.lattice, reverse)
