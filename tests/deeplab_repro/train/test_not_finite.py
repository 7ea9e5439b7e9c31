"""A loss that is not finite names where that began."""

import h5py
import numpy as np
import pytest

from deeplab_repro.train.not_finite import NotFinite


def test_weights_that_grow_without_bound_are_named(tiny):
    tiny.write(base_lr=1e30)
    with pytest.raises(NotFinite, match=r"iteration \d+: the loss is nan.*layer '(conv1|frozen|score)'"):
        tiny.train()


def test_data_that_are_not_finite_are_named(tiny):
    with h5py.File(tiny.folder / "data.h5", "r+") as file:
        file["data"][3, 0, 0, 0] = np.nan
    with pytest.raises(NotFinite, match="iteration 1: the loss is nan; the data layer's blob 'data'"):
        tiny.train()
