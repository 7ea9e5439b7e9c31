"""BN of PSPNet and of SegNet: recorded passes, and the rules that no recording tells."""

from __future__ import annotations

import pytest
import torch

from deeplab_repro import CaffeNet
from prototxt_import import parse_net
from tests.deeplab_repro.layers.recorded import check_recorded

HEAD = 'input: "x" input_shape { dim: 2 dim: 3 dim: 5 dim: 7 }\n'


def bn(fields: str, phase: str = "TRAIN", head: str = HEAD) -> CaffeNet:
    return CaffeNet(
        parse_net(f'{head}layer {{ name: "bn" type: "BN" bottom: "x" top: "y" bn_param {{ {fields} }} }}', phase=phase)
    )


@pytest.mark.parametrize("name", ["bn_test", "bn_frozen_train", "bn_train", "pyramid"])
def test_pspnet_as_recorded(name):
    check_recorded("pspnet", name)


@pytest.mark.parametrize("name", ["bn_inference", "bn_learn", "bn_learn_in_test", "bn_learn_3tops"])
def test_segnet_as_recorded(name):
    check_recorded("segnet", name)


def test_stored_variance_begins_at_one_when_frozen_and_at_zero_else():
    assert bn("frozen: true").params["bn"][3].unique().tolist() == [1]
    assert bn("momentum: 0.9").params["bn"][3].unique().tolist() == [0]
    assert bn("frozen: true").params["bn"][2].unique().tolist() == [0]


def test_moving_blobs_take_no_gradient_and_frozen_ones_none_at_all():
    wanted = [blob.requires_grad for blob in bn("slope_filler { value: 1 }").params["bn"]]
    assert wanted == [True, True, False, False]
    assert not any(blob.requires_grad for blob in bn("frozen: true").params["bn"])


def test_gradient_in_test_is_that_of_the_forward_pass(rng):
    net = bn("slope_filler { value: 1 }", "TEST").double()
    with torch.no_grad():
        net.params["bn"][3].fill_(2)
    x = torch.randn(2, 3, 5, 7, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: net(x=x)["y"], x)


def test_moving_statistics_keep_their_share_of_the_old(rng):
    """momentum is what is kept; mean and biased variance run over items and positions."""
    net = bn("momentum: 0.7 eps: 0.01")
    slope, bias, mean, variance = net.params["bn"]
    with torch.no_grad():
        for blob in (slope, bias, mean, variance):
            blob.copy_(torch.rand(blob.shape, generator=rng) + 0.5)
    old = mean.clone().flatten(), variance.clone().flatten()
    x = torch.randn(2, 3, 5, 7, generator=rng) * 3 + 1
    batch = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
    y = net(x=x)["y"]
    row = [statistic.reshape(1, 3, 1, 1) for statistic in batch]
    torch.testing.assert_close(y, slope * (x - row[0]) / (row[1] + 0.01).sqrt() + bias)
    torch.testing.assert_close(mean.flatten(), 0.7 * old[0] + 0.3 * batch[0])
    torch.testing.assert_close(variance.flatten(), 0.7 * old[1] + 0.3 * batch[1])


@pytest.mark.parametrize("fields", ["slope_filler { value: 1 }", "scale_filler { value: 1 }", "bn_mode: INFERENCE"])
def test_gradients_of_the_blobs_accumulate(fields, rng):
    """SegNet's layer overwrites them, so that with iter_size only the last sub-batch counts."""
    net = bn(fields)
    x = torch.randn(2, 3, 5, 7, generator=rng)
    net(x=x)["y"].square().sum().backward()
    once = [blob.grad.clone() for blob in net.params["bn"][:2]]
    net(x=x)["y"].square().sum().backward()
    for blob, before in zip(net.params["bn"], once, strict=False):
        torch.testing.assert_close(blob.grad, 2 * before)


@pytest.mark.parametrize("fields", ["frozen: true", "bn_mode: LEARN", "bn_mode: INFERENCE", "momentum: 0.9"])
def test_in_place_it_gives_what_it_gives_elsewhere(fields, rng):
    """SegNet's layer in place under INFERENCE takes the gradient of the scale from its output."""
    apart = 'layer { name: "r" type: "Power" bottom: "x" top: "r" } '
    apart += f'layer {{ name: "bn" type: "BN" bottom: "r" top: "TOP" bn_param {{ {fields} }} }}'
    x, results = torch.randn(2, 3, 5, 7, generator=rng), []
    for top in ("y", "r"):
        net = CaffeNet(parse_net(HEAD + apart.replace("TOP", top), phase="TRAIN"))
        with torch.no_grad():
            net.params["bn"][0].fill_(1.5)
        fed = x.clone().requires_grad_()
        y = net(x=fed)[top]
        y.square().sum().backward()
        slope = net.params["bn"][0].grad
        results.append([y.detach(), fed.grad, *([] if slope is None else [slope])])
    for apart_result, in_place_result in zip(*results, strict=True):
        torch.testing.assert_close(apart_result, in_place_result)


def test_test_models_hold_the_batchs_statistics_in_scale_and_shift(rng):
    """g / sqrt(v + 1e-9) and b - g m / sqrt(v + 1e-9) make of LEARN what INFERENCE computes."""
    tops = 'top: "y" top: "m" top: "v"'
    learn = CaffeNet(
        parse_net(f'{HEAD}layer {{ name: "bn" type: "BN" bottom: "x" {tops} bn_param {{ bn_mode: LEARN }} }}')
    )
    inference = bn("bn_mode: INFERENCE", "TEST")
    x = torch.randn(2, 3, 5, 7, generator=rng)
    with torch.no_grad():
        for blob in learn.params["bn"]:
            blob.copy_(torch.rand(blob.shape, generator=rng) + 0.5)
        blobs = learn(x=x, blobs="all")
        scale = learn.params["bn"][0] / (blobs["v"] + 1e-9).sqrt()
        inference.params["bn"][0].copy_(scale)
        inference.params["bn"][1].copy_(learn.params["bn"][1] - scale * blobs["m"])
    torch.testing.assert_close(inference(x=x)["y"], blobs["y"])


@pytest.mark.parametrize("fields", ["slope_filler { value: 1 }", "scale_filler { value: 1 }"])
def test_batch_of_one_value_per_channel(fields):
    head = 'input: "x" input_shape { dim: 1 dim: 3 dim: 1 dim: 1 }\n'
    y = bn(fields, head=head)(x=torch.ones(1, 3, 1, 1))["y"]
    assert torch.equal(y, torch.zeros(1, 3, 1, 1))


def test_double_precision_gradient_of_the_batch_rule(rng):
    net = bn("scale_filler { value: 1.5 } bn_mode: LEARN", "TEST").double()
    x = torch.randn(2, 3, 5, 7, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: net(x=x)["y"], x)


def test_an_empty_batch_changes_nothing():
    net = bn("momentum: 0.5")
    before = [blob.clone() for blob in net.params["bn"]]
    assert net(x=torch.zeros(0, 3, 5, 7))["y"].shape == (0, 3, 5, 7)
    assert all(torch.equal(blob, was) for blob, was in zip(net.params["bn"], before, strict=True))


def test_folded_into_a_convolution_it_gives_the_same(rng):
    text = HEAD + 'layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param { '
    text += 'num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } } '
    text += 'layer { name: "bn" type: "BN" bottom: "c" top: "c" bn_param { frozen: true '
    text += "slope_filler { value: 2 } bias_filler { value: 0.5 } } }"
    net = CaffeNet(parse_net(text), rng)
    with torch.no_grad():
        net.params["bn"][2].fill_(0.1)
    x = torch.randn(2, 3, 5, 7, generator=rng)
    prepared = net.prepare(x)
    assert len(prepared.layers) == 1
    assert torch.allclose(prepared(x=x)["c"], net(x=x)["c"], atol=1e-5)
