"""A loss that is not finite names where that began."""

import h5py
import numpy as np
import pytest

from deeplab_repro.train.not_finite import NotFinite
from deeplab_repro.train.trainer import Trainer


def test_weights_that_grow_without_bound_are_named(tiny):
    tiny.write(base_lr=1e30)
    with pytest.raises(NotFinite, match=r"iteration \d+: the loss is nan.*layer '(conv1|frozen|score)'"):
        tiny.train()


def test_data_that_are_not_finite_are_named(tiny):
    with h5py.File(tiny.folder / "data.h5", "r+") as file:
        file["data"][3, 0, 0, 0] = np.nan
    with pytest.raises(NotFinite, match="iteration 1: the loss is nan; the data layer's blob 'data'") as caught:
        tiny.train()
    # What was learned before is kept.
    assert "1 updates are done and saved, go on with --snapshot" in str(caught.value)
    assert (tiny.folder / "snap_iter_1.solverstate").is_file()


def test_a_gradient_that_is_not_finite_moves_nothing_and_is_named(tiny, monkeypatch):
    """As by Clip or a normalisation of zeros: a finite loss, and the update would end all."""
    step = Trainer._pass

    def poisoned(trainer, *arguments):
        done = step(trainer, *arguments)
        if trainer.updates == 2:
            trainer.net.params["conv1"][0].grad[0] = float("inf")
        return done

    monkeypatch.setattr(Trainer, "_pass", poisoned)
    with pytest.raises(NotFinite, match="iteration 2: the gradient of layer 'conv1' is not finite") as caught:
        tiny.train()
    assert "2 updates are done and saved" in str(caught.value)
    model = tiny.weights(iteration=2)
    assert all(np.isfinite(blob).all() for blobs in model.values() for blob in blobs)
