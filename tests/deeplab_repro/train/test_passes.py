"""Forward passes as Caffe runs them."""

import numpy as np
import pytest
import torch

from deeplab_repro.net.load import load_caffe
from deeplab_repro.train.passes import load_net, run_passes


def test_inputs_given_are_run_as_often_as_asked(toy):
    net = load_net(toy.prototxt, toy.caffemodel)
    x = np.random.default_rng(0).normal(size=(1, 3, 33, 41)).astype(np.float32)
    blobs = run_passes(net, {"data": x}, "all", range(2))
    expected = load_caffe(toy.prototxt, toy.caffemodel)(data=torch.from_numpy(x), blobs="all")
    assert set(blobs) == {"data", *expected}
    assert blobs["data"].shape == (2, 3, 33, 41)
    for name, values in expected.items():
        np.testing.assert_array_equal(blobs[name], np.concatenate([values.detach().numpy()] * 2))
        assert blobs[name].dtype == np.float32
    with pytest.raises(ValueError, match=r"the net needs --input for data \[1, 3, 33, 33\]"):
        run_passes(net, {}, None, range(1))


def test_data_layers_feed_and_a_seed_repeats_the_dropout(tiny):
    net = load_net(tiny.folder / "net.prototxt", None, seed=3, phase="TRAIN")
    first, again, other = (run_passes(net, {}, ["conv1", "loss"], range(3), seed) for seed in (5, 5, 6))
    assert first["loss"].shape == (3,)
    assert first["conv1"].shape[0] == 3 * 2
    np.testing.assert_array_equal(first["conv1"], again["conv1"])
    assert not np.array_equal(first["conv1"], other["conv1"])
