"""Caffe's random generator: std::mt19937 seeded with one 32-bit number, and what its layers draw from it.

numpy's MT19937 is the same generator; its distributions are not Boost's, so those stand here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TOP = 0xFFFFFFFF  # the largest output


class CaffeRng:
    """The generator of `caffe_rng_rand`, seeded as std::mt19937 is.

    Args:
        seed: Counts modulo 2^32.

    Source:
        src/caffe/common.cpp and util/rng.hpp of the forks; the draws of Boost 1.5x and later.

    Example:
        >>> from deeplab_repro.data.feeds.caffe_rng import CaffeRng
        >>> CaffeRng(5489).next()  # the standard's own first output
        3499211612
    """

    def __init__(self, seed: int) -> None:
        self._bits = np.random.MT19937()
        # MT19937's own seeding is another; the legacy class has Matsumoto's, which the standard prescribes.
        state: Any = np.random.RandomState(seed & _TOP).get_state(legacy=False)
        self._bits.state = state

    def next(self) -> int:
        """Draw one number.

        Returns:
            The next output, 0 to 2^32 - 1.
        """
        return int(self._bits.random_raw())

    def draw(self, count: int) -> NDArray[np.uint32]:
        """Draw several numbers.

        Args:
            count: How many.

        Returns:
            The next outputs, uint32 [count].
        """
        return self._bits.random_raw(count).astype(np.uint32)

    def uniform_int(self, high: int) -> int:
        """Draw evenly as boost::uniform_int does: outputs that would favour some value are drawn again.

        Args:
            high: The largest number.

        Returns:
            A number from 0 to `high`, both included.
        """
        width = _TOP // (high + 1) + (_TOP % (high + 1) == high)
        while True:
            value = self.next() // width
            if value <= high:
                return value

    def shuffle(self, order: NDArray[np.int64]) -> None:
        """Caffe's shuffle: from the last place down, swap with one drawn among itself and those before.

        Args:
            order: int64 [n], shuffled in place.
        """
        for i in range(len(order) - 1, 0, -1):
            j = self.uniform_int(i)
            order[i], order[j] = order[j], order[i]

    def keep_mask(self, count: int, ratio: float) -> NDArray[np.bool_]:
        """Draw which values a Dropout layer keeps, one output each, in memory order.

        Args:
            count: How many values there are.
            ratio: The share that is dropped.

        Returns:
            Whether each is kept, bool [count].

        Source:
            boost::bernoulli_distribution<float>: output and bound are rounded to single precision.
        """
        share = np.float32(1.0 - float(np.float32(ratio)))
        return self.draw(count).astype(np.float32) <= share * np.float32(_TOP)

    def state(self) -> dict[str, Any]:
        """The generator's place.

        Returns:
            Plain Python numbers, for `restore`.
        """
        inner = self._bits.state["state"]
        return {"key": inner["key"].tolist(), "pos": int(inner["pos"])}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a place.

        Args:
            state: What `state` gave.
        """
        inner: Any = {"key": np.array(state["key"], np.uint32), "pos": int(state["pos"])}
        self._bits.state = {"bit_generator": "MT19937", "state": inner}
