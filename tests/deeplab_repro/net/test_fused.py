"""Modules that run several layers as one."""

from __future__ import annotations

import pytest
import torch

from deeplab_repro import CaffeNet
from prototxt_import import Filler, layer, make_net
from tests.deeplab_repro.net.small_net import error

# Of the largest value of each blob; bfloat16 keeps eight bits, and errors add up over layers.
BOUNDS = {"exact": 2e-5, "fast": 1e-3, "bf16": 0.1}


@pytest.mark.parametrize("precision", BOUNDS)
def test_parallel_convolutions_of_one_blob_join_their_sum(precision):
    def branch(name, kernel, rate, outputs=5):
        pads = tuple(rate * (k - 1) // 2 for k in kernel)
        options = {
            "kernel": kernel,
            "pad": pads,
            "dilation": (rate, rate),
            "weight_filler": Filler("gaussian", std=0.2),
        }
        return layer("Convolution", name, "data", name, num_output=outputs, bias_filler=Filler("gaussian"), **options)

    layers = [
        branch("a", (3, 3), 2),
        branch("b", (3, 1), 4),
        branch("c", (1, 1), 1),
        branch("d", (3, 3), 40),  # only its centre meets the map
        layer("Eltwise", "sum", ["a", "b", "c", "d"], "sum", operation="SUM"),
        layer("ReLU", "relu", "sum", "sum"),
    ]
    net = CaffeNet(make_net("heads", {"data": (2, 8, 9, 11)}, layers))
    x = torch.randn(2, 8, 9, 11)
    ready = net.prepare(x, precision)
    assert len(ready.layers) == 1
    assert len(ready.layers["sum"].offsets) == 9 + 2 + 8
    want = net(data=x)["sum"]
    for merged in (True, False):
        ready.layers["sum"].methods[x.shape] = merged
        assert error(ready(data=x)["sum"], want) < {"exact": 2e-6, "fast": 1e-5, "bf16": 0.05}[precision]
    # A coefficient or a second reader keeps them apart.
    assert len(net.prepare(x, blobs=["a"]).layers) == 5


@pytest.mark.parametrize("product", [True, False])
def test_sums_take_the_memory_of_their_terms_only_where_nobody_sees_it(product):
    def conv(name, bottom, kernel):
        window = {"kernel": (kernel, kernel), "pad": (kernel // 2, kernel // 2)}
        fillers = {"weight_filler": Filler("gaussian", std=0.3), "bias_filler": Filler("gaussian")}
        return layer("Convolution", name, bottom, name, num_output=4, **window, **fillers)

    layers = [
        conv("a", "data", 3),
        conv("b", "a", 3),
        layer("Eltwise", "sum", ["a", "b"], "sum", operation="SUM"),
        layer("ReLU", "relu", "sum", "sum"),
        conv("inner", "sum", 3),
        conv("last", "inner", 1),
        layer("Eltwise", "block", ["sum", "last"], "block", operation="SUM"),
        layer("Eltwise", "own", ["data", "block"], "own", operation="SUM"),
    ]
    net = CaffeNet(make_net("sums", {"data": (2, 4, 5, 7)}, layers))
    x = torch.randn(2, 4, 5, 7).contiguous(memory_format=torch.channels_last)
    before = x.clone()
    ready = net.prepare(x)
    assert ready.folded == ("last",)
    ready.layers["block"].methods[x.shape] = product
    for blobs in (None, "all", ["b", "own"], ["sum", "block"], ["sum", "inner"], ["a"]):
        got = ready(data=x, blobs=blobs)
        want = net(data=x, blobs=list(got))
        assert all(error(got[name], want[name]) < 2e-6 for name in want)
    assert torch.equal(x, before)
