"""Test nets: the trained blobs on other data, outputs averaged over their passes."""

import h5py
import numpy as np
import pytest
import torch

from deeplab_repro.data.feeds.caffe_rng import CaffeRng
from deeplab_repro.jobs.ranks import Ranks
from deeplab_repro.net.network import CaffeNet
from deeplab_repro.train.validation import ValidationNet
from prototxt_import import read_net
from tests.deeplab_repro.train.small_run import TESTED, Kept


def test_test_net_uses_the_trained_weights_and_averages_its_passes(tiny):
    tiny.write(TESTED)
    kept = Kept()
    trainer = tiny.train(watchers=[kept])
    assert [updates for updates, _ in kept.tests] == [0, 5, 10]
    assert [len(kept.tests[0][1][name]) for name in ("loss", "accuracy")] == [1, 3]
    # The third phase reads items 6, 0, 1 of seven, one a pass, with the weights of ten updates.
    tiny.train("ten", max_iter=10)
    spec = read_net(tiny.folder / "net.prototxt", phase="TEST", weights=tiny.folder / "ten_iter_10.caffemodel")
    with h5py.File(tiny.folder / "data.h5") as file:
        batches = [{name: torch.from_numpy(file[name][i : i + 1]) for name in ("data", "label")} for i in (6, 0, 1)]
    net = CaffeNet(spec.with_inputs({name: tuple(value.shape) for name, value in batches[0].items()}))
    losses = [net(**batch)["loss"].item() for batch in batches]
    assert kept.tests[2][1]["loss"][0] == pytest.approx(np.mean(losses), rel=1e-6)
    assert trainer.updates == 12


def test_compute_loss_tells_the_weighted_loss_of_a_test_net(tiny):
    tiny.write(f"{TESTED} test_compute_loss: true")
    kept = Kept()
    tiny.train(watchers=[kept])
    assert kept.tests[0][1]["test loss"] == pytest.approx(kept.tests[0][1]["loss"])


def test_fewer_test_passes_than_ranks_are_refused_at_once(tiny):
    spec = read_net(tiny.folder / "net.prototxt", phase="TEST")
    with pytest.raises(ValueError, match=r"net.prototxt: test_iter 2 leaves some of the 3 processes"):
        ValidationNet(spec, None, CaffeRng(1), 2, 1, torch.device("cpu"), Ranks(0, 3))
