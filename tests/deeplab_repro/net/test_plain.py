"""A net without its frozen normalisation."""

import pytest
import torch

from deeplab_repro import CaffeNet
from deeplab_repro.net.plain import plain_net
from deeplab_repro.zoo import models
from tests.deeplab_repro.net.small_net import affine_net, error, small_spec


@pytest.mark.parametrize("group", [1, 2])
def test_affine_layers_on_both_sides_go_into_the_convolution_which_gets_a_bias(group):
    net = affine_net(group=group)
    plain = plain_net(net)
    assert [layer.type for layer in plain.layers] == ["Convolution", "ReLU", "Dropout"]
    assert plain.layer("conv").options.bias_term
    assert (plain.layer("conv").bottoms, plain.layer("conv").tops) == (("data",), ("scale2",))
    x = torch.randn(2, 4, 9, 8)
    assert error(CaffeNet(plain)(data=x)["drop"], net(data=x)["drop"]) < 2e-6


def test_what_belongs_to_no_convolution_stays():
    net = affine_net(pad=1)
    plain = plain_net(net)
    assert [layer.name for layer in plain.layers] == ["bn1", "scale1", "conv", "relu", "drop"]
    x = torch.randn(2, 4, 9, 8)
    assert error(CaffeNet(plain)(data=x)["drop"], net(data=x)["drop"]) < 2e-6


def test_a_residual_net_loses_all_its_batch_norm():
    net = models.deeplab_resnet101_largefov(width=1 / 32, depths=(1, 1, 1, 1), size=(65, 65))
    plain = plain_net(net)
    assert not {"BatchNorm", "Scale"} & {layer.type for layer in plain.layers}
    x = torch.randn(1, 3, 65, 65)
    want = net(data=x)
    for name, value in CaffeNet(plain)(data=x).items():
        assert error(value, want[name]) < 2e-5


def test_statistics_that_move_cannot_be_folded():
    with pytest.raises(ValueError, match=r"only nets of phase TEST .* this one is TRAIN"):
        plain_net(CaffeNet(small_spec("TRAIN")))
