"""Which layers of a net run as one."""

from __future__ import annotations

import pytest
import torch

from deeplab_repro import CaffeNet
from prototxt_import import Filler, layer, make_net
from tests.deeplab_repro.net.small_net import affine_net, error


@pytest.mark.parametrize("group", [1, 2])
def test_batch_norm_and_scale_fold_into_the_convolution_on_either_side(group):
    net = affine_net(group=group)
    x = torch.randn(2, 4, 9, 8)
    ready = net.prepare(x)
    assert [name for name, _ in ready.layers.named_children()] == ["conv"]
    assert ready.folded == ("bn1", "scale1", "conv", "bn2", "scale2", "relu")
    assert error(ready(data=x)["drop"], net(data=x)["drop"]) < 2e-6


def test_padding_keeps_an_affine_layer_in_front_of_the_convolution():
    net = affine_net(pad=1)
    x = torch.randn(2, 4, 9, 8)
    ready = net.prepare(x)
    assert len(ready.layers) == 2
    assert error(ready(data=x)["drop"], net(data=x)["drop"]) < 2e-6


def test_normalisation_by_the_batch_itself_does_not_fold_into_what_follows():
    layers = [
        layer("BatchNorm", "bn", "data", "bn", use_global_stats=False),
        layer("Convolution", "conv", "bn", "conv", num_output=2, kernel=1, weight_filler=Filler("gaussian")),
    ]
    net = CaffeNet(make_net("n", {"data": (2, 3, 5, 5)}, layers))
    x = torch.randn(2, 3, 5, 5)
    want = net(data=x)["conv"]
    assert error(net.prepare(x)(data=x)["conv"], want) < 2e-6


def test_a_value_with_two_readers_stays():
    layers = [
        layer("Convolution", "conv", "data", "conv", num_output=3, kernel=(1, 1), weight_filler=Filler("gaussian")),
        layer("ReLU", "relu", "conv", "relu"),
        layer("Eltwise", "sum", ["conv", "relu"], "sum", operation="SUM"),
    ]
    net = CaffeNet(make_net("readers", {"data": (1, 2, 5, 5)}, layers))
    x = torch.randn(1, 2, 5, 5)
    ready = net.prepare({"data": x})
    assert ready.folded == ()
    assert error(ready(data=x)["sum"], net(data=x)["sum"]) < 1e-6
