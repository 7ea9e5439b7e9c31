"""pydensecrf's kernels: their kinds, and one with its compatibility."""

from __future__ import annotations

import operator
from enum import IntEnum
from numbers import Number
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from deeplab_repro.compat.pydensecrf.arguments import typed_view
from deeplab_repro.ops.unrolled import NormalizedFilter, energies

__all__ = ["KernelType", "NormalizationType"]


class KernelType(IntEnum):
    """How a kernel's features could be scaled in learning; at inference all are the same.

    Source:
        pydensecrf's densecrf.pyx, KernelType.

    Example:
        >>> import deeplab_repro.compat.pydensecrf.densecrf as dcrf
        >>> dcrf.DIAG_KERNEL == dcrf.KernelType.DIAG_KERNEL
        True
    """

    CONST_KERNEL = 0
    DIAG_KERNEL = 1
    FULL_KERNEL = 2


class NormalizationType(IntEnum):
    """Where a filter is divided by its filtered ones.

    Source:
        pydensecrf's densecrf.pyx, NormalizationType.

    Example:
        >>> import deeplab_repro.compat.pydensecrf.densecrf as dcrf
        >>> dcrf.NORMALIZE_SYMMETRIC == dcrf.NormalizationType.NORMALIZE_SYMMETRIC
        True
    """

    NO_NORMALIZATION = 0
    NORMALIZE_BEFORE = 1
    NORMALIZE_AFTER = 2
    NORMALIZE_SYMMETRIC = 3


CONST_KERNEL, DIAG_KERNEL, FULL_KERNEL = KernelType
NO_NORMALIZATION, NORMALIZE_BEFORE, NORMALIZE_AFTER, NORMALIZE_SYMMETRIC = NormalizationType
_NAMES = {0: "no", 1: "before", 2: "after", 3: "symmetric"}


class Pairwise:
    """One kernel: its filter, built when first asked for, and its compatibility as an energy."""

    def __init__(self, features: Tensor, compat: Any, kernel: int, normalization: int, labels: int) -> None:
        # Any integer is taken for a kernel type, as pydensecrf does.
        operator.index(kernel)
        number = operator.index(normalization)
        if number not in _NAMES:
            raise ValueError(f"normalization must be one of {', '.join(NormalizationType.__members__)}, got {number}")
        self.features, self.normalization = features, _NAMES[number]
        self.weight, self.matrix = _compatibility(compat, labels)
        if self.matrix is not None:
            self.matrix = self.matrix.to(features.device)
        self._filter: NormalizedFilter | None = None

    def apply(self, q: Tensor) -> Tensor:
        """What q [N, L] adds to the energies."""
        if self._filter is None:
            self._filter = NormalizedFilter(self.features, self.normalization)
        return energies(self.weight * self._filter(q), self.matrix)


def _compatibility(compat: Any, labels: int) -> tuple[float, Tensor | None]:
    """(Potts weight, None), or (1, an energy [L] or [L, L], symmetrised)."""
    if isinstance(compat, Number):
        return float(cast(float, compat)), None
    view = np.asarray(memoryview(compat))
    if view.ndim not in (1, 2):
        raise ValueError("LabelCompatibility of dimension >2 not meaningful.")
    matrix = torch.from_numpy(typed_view("compat", view, axes=view.ndim).copy())
    if list(matrix.shape) != [labels] * matrix.dim():
        raise ValueError(f"Bad shape for compat (Need {[labels] * matrix.dim()}, got {list(matrix.shape)})")
    return 1.0, matrix if matrix.dim() == 1 else (matrix + matrix.T) / 2
