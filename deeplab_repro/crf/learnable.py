"""The dense CRF as a layer with parameters of its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from deeplab_repro import ops
from deeplab_repro.crf.features import bilateral_features, position_features
from deeplab_repro.crf.model import DenseCRF, numbers_of
from deeplab_repro.crf.params import CRFParams, symmetrized

__all__ = ["LearnableCRF"]


class LearnableCRF(DenseCRF):
    """A `DenseCRF` whose kernel weights and compatibility are learned.

    `kernel_weights` [2] (gaussian, bilateral) and `compatibility` [L, L] (used symmetrised) are Parameters; they start
    at the params' weights and compatibility (Potts where None), where the layer equals `DenseCRF(params)`. Standard
    deviations, normalization and iterations stay fixed. Gradients flow to the scores and both parameters, not to the
    image.

    Args:
        num_labels: Labels L of the scores.
        params: What to start from; None for the defaults of `CRFParams`.
        recompute: Whether to trade time for memory: of each iteration one tensor the size of the scores is kept for the
            gradient.

    Raises:
        ValueError: The compatibility is for another number of labels.

    Source:
        Zheng et al. 2015, CRF as a recurrent layer.

    Example:
        >>> import torch
        >>> from deeplab_repro import CRFParams, LearnableCRF
        >>> crf = LearnableCRF(3, CRFParams(iterations=2))
        >>> q = crf(torch.zeros(8, 9, 3, dtype=torch.uint8), torch.rand(3, 8, 9))
        >>> q[0].mean().backward()
        >>> crf.kernel_weights.grad.shape, crf.compatibility.grad.shape
        (torch.Size([2]), torch.Size([3, 3]))
    """

    def __init__(self, num_labels: int, params: CRFParams | None = None, recompute: bool = False) -> None:
        super().__init__(params)
        start = self.params.compatibility
        matrix = -torch.eye(num_labels) if start is None else start.detach().to(torch.get_default_dtype())
        if len(matrix) != num_labels:
            raise ValueError(f"LearnableCRF: compatibility {list(matrix.shape)} is not for {num_labels} labels")
        self.recompute = recompute
        self.kernel_weights = nn.Parameter(
            torch.tensor([float(self.params.gaussian_weight), float(self.params.bilateral_weight)])
        )
        self.compatibility = nn.Parameter(torch.diag(matrix) if matrix.dim() == 1 else matrix.clone())

    def _kernels(self, image: Tensor, scores: Tensor) -> tuple[list[Tensor], Tensor]:
        params, (height, width) = self.params, scores.shape[2:]
        like = scores.dtype, scores.device
        position = position_features(height, width, params.gaussian_xy_std, dtype=like[0], device=like[1])[None]
        color = bilateral_features(image.to(scores), params.bilateral_xy_std, params.bilateral_rgb_std)
        return [position, color], self.kernel_weights.to(scores)

    def _compatibility(self, scores: Tensor) -> Tensor | None:
        return symmetrized(self.compatibility, scores)

    def infer(
        self, unary: Tensor, features: Sequence[Tensor], weights: Sequence[float] | Tensor, compatibility: Tensor | None
    ) -> Tensor:
        """The mean field of a `Problem`, by the fused operator where no gradient is asked.

        Args:
            unary: Energies [B, L, P].
            features: One tensor [B or 1, P, d] per kernel.
            weights: One number per kernel.
            compatibility: The energy between labels, [L, L].

        Returns:
            Marginals [B, L, P].
        """
        params = self.params
        rest = (compatibility, params.normalization, params.iterations)
        wanted = any(isinstance(value, Tensor) and value.requires_grad for value in (unary, weights, compatibility))
        if not (torch.is_grad_enabled() and wanted):
            return ops.meanfield(unary, features, numbers_of(weights), *rest)
        return ops.meanfield_unrolled(unary, features, weights, *rest, recompute=self.recompute)
