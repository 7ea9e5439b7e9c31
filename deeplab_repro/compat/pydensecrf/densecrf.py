"""pydensecrf's `DenseCRF` and `DenseCRF2D`: its argument names, defaults and errors, on the CPU or a CUDA device.

Marginals come as float32 numpy arrays [L, N] where pydensecrf returns a matrix object that numpy reads; whatever reads
that object with numpy works alike. Energies are float32 numpy arrays [L, N] in C order. Extras: a `device` for the
constructors (or `set_device`), `DenseCRF.map`.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeplab_repro import ops
from deeplab_repro.compat.pydensecrf.arguments import inplace, integer, numbers, typed_view
from deeplab_repro.compat.pydensecrf.pairwise import (
    CONST_KERNEL,
    DIAG_KERNEL,
    FULL_KERNEL,
    NO_NORMALIZATION,
    NORMALIZE_AFTER,
    NORMALIZE_BEFORE,
    NORMALIZE_SYMMETRIC,
    KernelType,
    NormalizationType,
    Pairwise,
)
from deeplab_repro.compat.pydensecrf.unary import ConstUnary, LogisticUnary, Unary
from deeplab_repro.ops.unrolled import MeanFieldStep, iterate, start, steps

__all__ = [
    "CONST_KERNEL",
    "DIAG_KERNEL",
    "FULL_KERNEL",
    "NORMALIZE_AFTER",
    "NORMALIZE_BEFORE",
    "NORMALIZE_SYMMETRIC",
    "NO_NORMALIZATION",
    "ConstUnary",
    "DenseCRF",
    "DenseCRF2D",
    "KernelType",
    "LogisticUnary",
    "NormalizationType",
    "Unary",
    "set_device",
]


_default_device = torch.device("cpu")


def set_device(device: str | torch.device) -> None:
    """Choose the device of objects made from now on without one of their own.

    Args:
        device: "cpu", "cuda" or a torch device.

    Example:
        >>> import deeplab_repro.compat.pydensecrf.densecrf as dcrf
        >>> dcrf.set_device("cpu")
    """
    global _default_device
    _default_device = torch.device(device)


class DenseCRF:
    """A fully connected CRF over variables of any kind.

    Args:
        nvar: The number N of variables.
        nlabels: The number L of labels of each.
        device: Where it computes; None for the one of `set_device`.

    Raises:
        ValueError: There are no labels, or fewer than no variables.

    Source:
        pydensecrf's densecrf.pyx, DenseCRF.

    Example:
        >>> import numpy as np
        >>> import deeplab_repro.compat.pydensecrf.densecrf as dcrf
        >>> crf = dcrf.DenseCRF(6, 2)
        >>> crf.setUnaryEnergy(np.random.rand(2, 6).astype(np.float32))
        >>> crf.addPairwiseEnergy(np.random.rand(3, 6).astype(np.float32), compat=1)
        >>> crf.inference(2).shape
        (2, 6)
    """

    def __init__(self, nvar: int, nlabels: int, *, device: str | torch.device | None = None) -> None:
        self._nvar, self._nlabels = operator.index(nvar), operator.index(nlabels)
        if self._nvar < 0 or self._nlabels < 1:
            raise ValueError(f"DenseCRF needs variables and at least one label, got {nvar} and {nlabels}")
        self._device = torch.device(device) if device is not None else _default_device
        self._unary = torch.zeros(self._nvar, self._nlabels, device=self._device)
        self._pairwise: list[Pairwise] = []

    def setUnary(self, u: Unary) -> None:
        """Set the energies of a `Unary`.

        Args:
            u: The unary.

        Raises:
            TypeError: The argument is no `Unary`.
        """
        if not isinstance(u, Unary):
            raise TypeError(f"Argument 'u' has incorrect type (expected Unary, got {type(u).__name__})")
        self.setUnaryEnergy(u.energies())

    def setUnaryEnergy(self, u: NDArray[np.float32], f: NDArray[np.float32] | None = None) -> None:
        """Set the unary energies.

        Args:
            u: Energies float32 [L, N]; with features their weights [L, D].
            f: Features float32 [D, N], or None.

        Raises:
            ValueError: An argument has another shape, dtype or layout.
        """
        if f is not None:
            u = LogisticUnary(u, f).energies()
        u = typed_view("u", u)
        if u.shape != (self._nlabels, self._nvar):
            raise ValueError(f"Bad shape for unary energy (Need {(self._nlabels, self._nvar)}, got {u.shape})")
        self._unary = torch.from_numpy(u.T.copy()).to(self._device)

    def addPairwiseEnergy(
        self,
        features: NDArray[np.float32],
        compat: Any,
        kernel: int = DIAG_KERNEL,
        normalization: int = NORMALIZE_SYMMETRIC,
    ) -> None:
        """Add a Gaussian kernel over features.

        Args:
            features: float32 [D, N], divided by their standard deviations.
            compat: A number (Potts), or energies between labels, float32 [L] or [L, L] (symmetrised).
            kernel: A `KernelType`; it changes nothing.
            normalization: A `NormalizationType`.

        Raises:
            ValueError: An argument has another shape, dtype or layout, or the normalization is unknown.
        """
        features = typed_view("features", features)
        if features.shape[1] != self._nvar:
            raise ValueError(f"Bad shape for pairwise energy (Need (?, {self._nvar}), got {features.shape})")
        self._add(torch.from_numpy(features.T.copy()), compat, kernel, normalization)

    def _add(self, features: Tensor, compat: Any, kernel: int, normalization: int) -> None:
        features = features.to(self._device)
        self._pairwise.append(Pairwise(features, compat, kernel, normalization, self._nlabels))

    def inference(self, niter: int) -> NDArray[np.float32]:
        """Run the mean field.

        Args:
            niter: Iterations.

        Returns:
            Marginals float32 [L, N].
        """
        niter = integer(niter)
        kinds = {pair.normalization for pair in self._pairwise}
        if len(kinds) <= 1 and all(pair.matrix is None for pair in self._pairwise):
            q = ops.meanfield(
                self._unary.T[None].contiguous(),
                [pair.features[None] for pair in self._pairwise],
                [pair.weight for pair in self._pairwise],
                None,
                next(iter(kinds), "no"),
                max(niter, 0),
            )[0]
            return q.cpu().numpy()
        return _numpy(iterate(self._unary, self._added, max(niter, 0)))

    def map(self, niter: int) -> NDArray[np.int16]:
        """The most probable label of each variable, the first where several are.

        Args:
            niter: Iterations.

        Returns:
            Labels int16 [N].
        """
        return self.inference(niter).argmax(0).astype(np.int16)

    def startInference(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Begin a mean field of single steps.

        Returns:
            (Q, tmp1, tmp2) for `stepInference`: the softmax of the negative energies, float32 [L, N], and two of its
            shape.
        """
        q = _numpy(start(self._unary))
        return q, np.zeros_like(q), np.zeros_like(q)

    def stepInference(self, Q: NDArray[np.float32], tmp1: NDArray[np.float32], tmp2: NDArray[np.float32]) -> None:
        """Run one iteration on Q, in place; the other two stay as they are.

        Args:
            Q: Marginals float32 [L, N].
            tmp1: Not used.
            tmp2: Not used.
        """
        Q = inplace("Q", Q, (self._nlabels, self._nvar))
        Q[...] = _numpy(self._step(Q).after)

    def klDivergence(self, Q: NDArray[np.float32]) -> float:
        """The negative entropy plus unary and pairwise energies, as pydensecrf sums them: every pair twice.

        Args:
            Q: Marginals float32 [L, N].

        Returns:
            The sum in nats, up to the model's log partition function.
        """
        q, pairwise, _ = self._step(inplace("Q", Q, (self._nlabels, self._nvar)))
        entropy = q.double() * q.clamp(min=1e-20).double().log()
        return float((entropy + q.double() * (self._unary.double() + pairwise.double())).sum())

    def _added(self, q: Tensor) -> Tensor:
        """What q [N, L] adds to the energies."""
        return sum((pair.apply(q) for pair in self._pairwise), start=torch.zeros_like(q))

    def _step(self, q: NDArray[np.float32]) -> MeanFieldStep:
        """The iteration from marginals [L, N]."""
        return next(steps(self._unary, self._added, torch.from_numpy(q.T.copy()).to(self._device)))


class DenseCRF2D(DenseCRF):
    """A fully connected CRF over the pixels of an image, row by row.

    Args:
        w: Columns of the image.
        h: Rows of the image.
        nlabels: The number L of labels.
        device: Where it computes; None for the one of `set_device`.

    Source:
        pydensecrf's densecrf.pyx, DenseCRF2D.

    Example:
        >>> import numpy as np
        >>> import deeplab_repro.compat.pydensecrf.densecrf as dcrf
        >>> crf = dcrf.DenseCRF2D(4, 3, 2)
        >>> crf.setUnaryEnergy(np.random.rand(2, 12).astype(np.float32))
        >>> crf.addPairwiseGaussian(sxy=3, compat=3)
        >>> crf.addPairwiseBilateral(sxy=80, srgb=13, rgbim=np.zeros((3, 4, 3), np.uint8), compat=10)
        >>> crf.inference(5).shape
        (2, 12)
    """

    def __init__(self, w: int, h: int, nlabels: int, *, device: str | torch.device | None = None) -> None:
        self._w, self._h = operator.index(w), operator.index(h)
        super().__init__(self._w * self._h, nlabels, device=device)

    def addPairwiseGaussian(
        self, sxy: Any, compat: Any, kernel: int = DIAG_KERNEL, normalization: int = NORMALIZE_SYMMETRIC
    ) -> None:
        """Add a kernel over positions.

        Args:
            sxy: The standard deviation in pixels, or one for x and one for y.
            compat: As in `addPairwiseEnergy`.
            kernel: As in `addPairwiseEnergy`.
            normalization: As in `addPairwiseEnergy`.
        """
        self._add(self._positions(sxy), compat, kernel, normalization)

    def addPairwiseBilateral(
        self,
        sxy: Any,
        srgb: Any,
        rgbim: NDArray[np.uint8],
        compat: Any,
        kernel: int = DIAG_KERNEL,
        normalization: int = NORMALIZE_SYMMETRIC,
    ) -> None:
        """Add a kernel over positions and colours.

        Args:
            sxy: The standard deviation in pixels, or one for x and one for y.
            srgb: The standard deviation in grey levels, one number or three.
            rgbim: The image, uint8 [h, w, 3].
            compat: As in `addPairwiseEnergy`.
            kernel: As in `addPairwiseEnergy`.
            normalization: As in `addPairwiseEnergy`.

        Raises:
            ValueError: The image has another shape, dtype or layout.
        """
        rgbim = typed_view("rgbim", rgbim, np.uint8, 3)
        if rgbim.shape[2] != 3:
            raise ValueError(
                "addPairwiseBilateral only works for RGB images; for others, `utils.create_pairwise_bilateral` makes "
                "features for `addPairwiseEnergy`."
            )
        if rgbim.shape[:2] != (self._h, self._w):
            raise ValueError(
                f"Bad shape for pairwise bilateral (Need (h,w,3)={(self._h, self._w, 3)}, got {rgbim.shape})"
            )
        stds = torch.tensor(numbers(srgb, 3))
        colors = torch.from_numpy(rgbim.reshape(-1, 3).astype(np.float32)) / stds
        self._add(torch.cat([self._positions(sxy), colors], 1), compat, kernel, normalization)

    def _positions(self, sxy: Any) -> Tensor:
        y, x = torch.meshgrid(
            torch.arange(self._h, dtype=torch.float32), torch.arange(self._w, dtype=torch.float32), indexing="ij"
        )
        return torch.stack([x.flatten(), y.flatten()], 1) / torch.tensor(numbers(sxy, 2))


def _numpy(q: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(q.cpu().numpy().T)
