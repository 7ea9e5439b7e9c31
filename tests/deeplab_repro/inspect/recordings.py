"""The toy net's own blobs and gradients as recordings."""

import numpy as np
import pytest
import torch

from deeplab_repro.net.load import load_caffe


@pytest.fixture(scope="session")
def net(toy):
    return load_caffe(toy.prototxt, toy.caffemodel)


@pytest.fixture(scope="session")
def blobs(net):
    x = torch.from_numpy(np.random.default_rng(8).normal(size=(1, 3, 33, 41)).astype(np.float32))
    with torch.no_grad():
        return {"data": x.numpy()} | {name: value.numpy() for name, value in net(data=x, blobs="all").items()}


def golden(path, blobs, **changed):
    arrays = {("in/" if name == "data" else "out/") + name: value for name, value in blobs.items()}
    np.savez(path, **{**arrays, **changed})
    return path


@pytest.fixture
def gradients(net, blobs):
    """A recording's entries of one backward pass from fc_interp."""
    x = torch.tensor(blobs["data"], requires_grad=True)
    out = net(data=x, blobs="all")
    out["pool1"].retain_grad()
    seed = torch.from_numpy(np.random.default_rng(3).normal(size=out["fc_interp"].shape).astype(np.float32))
    net.zero_grad()
    out["fc_interp"].backward(seed)
    entries = {"topdiff/fc_interp": seed.numpy(), "diff/data": x.grad.numpy(), "diff/pool1": out["pool1"].grad.numpy()}
    for layer in ("conv1", "fc"):
        entries |= {f"pdiff/{layer}/{i}": blob.grad.numpy().copy() for i, blob in enumerate(net.params[layer])}
    net.zero_grad()
    return entries
