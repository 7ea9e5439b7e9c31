"""CaffeNet: parameters, fillers, phase, and nets that are refused."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from deeplab_repro import CaffeNet
from prototxt_import import ParamSpec, layer, make_net
from tests.deeplab_repro.net.small_net import conv, small_spec


def test_phase_is_fixed_when_the_net_is_built(feed):
    still, moving = CaffeNet(small_spec("TEST")).train(), CaffeNet(small_spec("TRAIN")).eval()
    assert torch.equal(still(**feed).loss, still(**feed).loss)
    assert not torch.equal(moving(**feed).loss, moving(**feed).loss)
    masks = {"drop": torch.ones(1, 4, 6, 7)}
    assert torch.equal(moving(**feed, masks=masks).loss, moving(**feed, masks=masks).loss)


def shared_spec():
    params = [ParamSpec(name="w"), ParamSpec(name="b", lr_mult=2)]
    return make_net(
        "twins", {"data": (1, 3, 4, 4)}, [conv("one", "data", params=params), conv("two", "data", params=params)]
    )


@pytest.mark.parametrize("change", [lambda n: n, copy.deepcopy, lambda n: n.double(), lambda n: n.to("cpu")])
def test_parameters_of_one_name_are_one_parameter(change):
    net = change(CaffeNet(shared_spec()))
    assert net.params["one"][0] is net.params["two"][0]
    assert len(list(net.parameters())) == 2
    x = torch.randn(1, 3, 4, 4, dtype=net.params["one"][0].dtype)
    blobs = net(data=x)
    assert torch.equal(blobs["one"], blobs["two"])
    (blobs["one"].sum() + blobs["two"].sum()).backward()
    assert net.params["two"][1].grad.tolist() == [32] * 4


def test_a_copy_shares_nothing_and_a_pickle_comes_back(net, feed):
    other = copy.deepcopy(net)
    with torch.no_grad():
        other.params["b"][0].zero_()
    assert net.params["b"][0].any()
    again = pickle.loads(pickle.dumps(net))
    assert torch.equal(again(**feed).loss, net(**feed).loss)


def test_lr_mult_zero_takes_no_gradient(feed):
    spec = small_spec()
    frozen = [
        replace(plain, params=(ParamSpec(lr_mult=0), ParamSpec(lr_mult=0))) if plain.name == "a" else plain
        for plain in spec.layers
    ]
    net = CaffeNet(make_net("frozen", dict(spec.inputs), frozen))
    net(**feed).loss.backward()
    assert [blob.grad is None for blob in net.params["a"]] == [True, True]
    assert net.params["b"][0].grad.any()


def test_weights_are_copied_in_and_the_rest_filled():
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((4, 3, 3, 3)).astype(np.float32), np.arange(4, dtype=np.float32)]
    for array in arrays:
        array.flags.writeable = False
    net = CaffeNet(replace(small_spec(), weights={"a": arrays}))
    np.testing.assert_array_equal(net.params["a"][0].detach(), arrays[0])
    np.testing.assert_array_equal(net.params["a"][1].detach(), arrays[1])
    assert net.params["b"][0].any()
    assert not net.spec.weights


def test_same_generator_same_weights():
    first, second = (CaffeNet(small_spec(), torch.Generator().manual_seed(1)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_a_net_of_absurdly_many_parameters_is_refused_before_memory_is_taken():
    big = layer("InnerProduct", "big", "x", "y", num_output=200_000)
    spec = make_net("n", {"x": (1, 9000)}, [big])
    with pytest.raises(ValueError, match=r"n: asks for 1,800,200,000 parameters, 1,800,200,000 of them in layer 'big'"):
        CaffeNet(spec)
    small = make_net("n", {"x": (1, 9)}, [layer("InnerProduct", "small", "x", "y", num_output=2)])
    with pytest.raises(ValueError, match="max_parameters allows 19"):
        CaffeNet(small, max_parameters=19)
    assert CaffeNet(small, max_parameters=20).params["small"][0].shape == (2, 9)


def test_a_loss_without_a_top_counts_and_is_no_output(feed):
    spec = small_spec()
    net = CaffeNet(spec)
    assert spec.layer("loss").tops == ()
    assert spec.outputs == ("size",)
    blobs = net(**feed, blobs="all", masks={"drop": torch.ones(1, 4, 6, 7)})
    entropy = torch.nn.functional.cross_entropy(blobs["b"], feed["label"][:, 0].long())
    torch.testing.assert_close(blobs.loss, 0.5 * entropy + 2.0 * blobs["size"])


def test_force_backward_gives_frozen_blobs_and_inputs_a_gradient(feed):
    spec = small_spec()
    still = [replace(plain, params=tuple(ParamSpec(lr_mult=0) for _ in plain.params)) for plain in spec.layers]
    for forced in (False, True):
        net = CaffeNet(make_net("frozen", dict(spec.inputs), still, "TRAIN", force_backward=forced))
        fed = {**feed, "data": feed["data"].clone().requires_grad_(forced)}
        loss = net(**fed).loss
        assert loss.requires_grad == forced
        if forced:
            loss.backward()
            assert net.params["a"][0].grad.any()
            assert fed["data"].grad.any()
