"""A net's weights in the format that a name tells."""

import numpy as np
import pytest
import torch

from deeplab_repro import load_caffe, load_checkpoint
from deeplab_repro.export.formats import check_format, write_arrays_as, write_net_as
from prototxt_import import read_weights


@pytest.fixture
def net(toy):
    return load_caffe(toy.prototxt, toy.caffemodel)


def same(blobs, toy):
    assert set(blobs) == set(toy.weights)
    for name, arrays in toy.weights.items():
        for blob, array in zip(blobs[name], arrays, strict=True):
            np.testing.assert_array_equal(np.asarray(blob), array)


@pytest.mark.parametrize("name", ["n.caffemodel", "n.h5", "n.caffemodel.h5"])
def test_caffes_models_read_back_equal(net, toy, tmp_path, name):
    assert write_net_as(net, tmp_path / name).startswith("Caffe's model")
    same(read_weights(tmp_path / name), toy)
    write_arrays_as(toy.weights, tmp_path / f"lone_{name}")
    same(read_weights(tmp_path / f"lone_{name}"), toy)


def test_the_others_read_back_equal(net, toy, tmp_path):
    assert write_net_as(net, tmp_path / "n.safetensors") == "checkpoint"
    same({name: [b.detach() for b in held] for name, held in load_checkpoint(tmp_path / "n.safetensors").params.items()
          if held}, toy)  # fmt: skip
    assert write_net_as(net, tmp_path / "n.pth") == "state_dict of the net"
    again = load_caffe(toy.prototxt)
    again.load_state_dict(torch.load(tmp_path / "n.pth", weights_only=True))
    same({name: [b.detach() for b in held] for name, held in again.params.items() if held}, toy)
    assert write_net_as(net, tmp_path / "n.npz") == "4 arrays"
    with np.load(tmp_path / "n.npz") as arrays:
        same({name: [arrays[f"{name}/{i}"] for i in range(2)] for name in toy.weights}, toy)


def test_names_that_promise_something_else_are_refused(toy, tmp_path):
    for name, word in (("a.onnx", "--onnx"), ("a.prototxt", "deeplab export"), ("a", "nothing is written under")):
        with pytest.raises(ValueError, match=word):
            check_format(tmp_path / name)
    for name in ("a.safetensors", "a.pt"):
        with pytest.raises(ValueError, match="needs the net; name its prototxt"):
            write_arrays_as(toy.weights, tmp_path / name)
    assert not list(tmp_path.iterdir())
