"""pydensecrf's unary energies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deeplab_repro.compat.pydensecrf.arguments import typed_view


class Unary:
    """Unary energies for `DenseCRF.setUnary`; the base of `ConstUnary` and `LogisticUnary`.

    Source:
        pydensecrf's unary.pyx, Unary.

    Example:
        >>> import numpy as np
        >>> import deeplab_repro.compat.pydensecrf.densecrf as dcrf
        >>> isinstance(dcrf.ConstUnary(np.zeros((2, 6), np.float32)), dcrf.Unary)
        True
    """

    def energies(self) -> NDArray[np.float32]:
        """The energies.

        Returns:
            float32 [L, N].
        """
        raise NotImplementedError


class ConstUnary(Unary):
    """Unary energies as they are.

    Args:
        u: Energies float32 [L, N].

    Raises:
        ValueError: The energies have another dtype or number of axes.

    Source:
        pydensecrf's unary.pyx, ConstUnary.

    Example:
        >>> import numpy as np
        >>> import deeplab_repro.compat.pydensecrf.densecrf as dcrf
        >>> dcrf.ConstUnary(np.ones((2, 3), np.float32)).energies().sum()
        np.float32(6.0)
    """

    def __init__(self, u: NDArray[np.float32]) -> None:
        self._energies = typed_view("u", u).copy()

    def energies(self) -> NDArray[np.float32]:
        """The energies.

        Returns:
            u, float32 [L, N].
        """
        return self._energies


class LogisticUnary(Unary):
    """Unary energies L f of weights and features.

    Args:
        L: Weights float32 [L, D].
        f: Features float32 [D, N].

    Raises:
        ValueError: The shapes do not fit each other, or an argument has another dtype or number of axes.

    Source:
        pydensecrf's unary.pyx, LogisticUnary.

    Example:
        >>> import numpy as np
        >>> import deeplab_repro.compat.pydensecrf.densecrf as dcrf
        >>> weights, features = np.ones((2, 4), np.float32), np.ones((4, 3), np.float32)
        >>> dcrf.LogisticUnary(weights, features).energies().shape
        (2, 3)
    """

    def __init__(self, L: NDArray[np.float32], f: NDArray[np.float32]) -> None:
        weights, features = typed_view("L", L), typed_view("f", f)
        if weights.shape[1] != features.shape[0]:
            raise ValueError(f"Bad shapes for logistic unary: {weights.shape} times {features.shape}")
        self._energies = weights @ features

    def energies(self) -> NDArray[np.float32]:
        """The energies.

        Returns:
            L f, float32 [L, N].
        """
        return self._energies
