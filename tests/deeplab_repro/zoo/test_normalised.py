from __future__ import annotations

import numpy as np
import pytest
import torch

from deeplab_repro import zoo
from deeplab_repro.net.network import CaffeNet
from deeplab_repro.net.plain import plain_net
from deeplab_repro.zoo.normalised import normalised
from prototxt_import import CaffeFormatError, net_text

SMALL = {"width": 0.03, "size": (33, 41), "num_classes": 5}


def spec(name: str = "deeplab_largefov", phase: str = "TEST", **facts):
    return normalised(zoo.spec(name, phase=phase, dialect="v2", **SMALL, **facts))


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(3)


@pytest.fixture
def trained(rng) -> CaffeNet:
    """A normalised net with statistics of its own."""
    net = CaffeNet(spec(), generator=rng)
    with torch.no_grad():
        for name, blobs in net.params.items():
            if name.endswith("_bn"):
                blobs[0].normal_(generator=rng).mul_(3)
                blobs[1].uniform_(0.5, 2, generator=rng).mul_(3)
                blobs[2].fill_(3)
            elif name.endswith("_scale"):
                blobs[0].uniform_(0.5, 1.5, generator=rng)
                blobs[1].normal_(generator=rng)
    return net


def test_every_convolution_before_a_relu_is_normalised_and_the_classifier_is_not():
    types = {layer.name: layer.type for layer in spec().layers}
    convolutions = [name for name, type_ in types.items() if type_ == "Convolution"]
    assert convolutions[-1] == "fc8_voc12"
    for name in convolutions[:-1]:
        assert (types[f"{name}_bn"], types[f"{name}_scale"]) == ("BatchNorm", "Scale")
    assert not any(name.startswith("fc8_voc12_") for name in types)


def test_statistics_are_the_batch_s_in_training_and_stored_ones_in_testing():
    for phase, stored in (("TRAIN", False), ("TEST", True)):
        options = [layer.options for layer in spec(phase=phase).layers if layer.type == "BatchNorm"]
        assert options
        assert all(option.use_global_stats is stored for option in options)


def test_the_v1_dialect_has_no_such_layers():
    net = normalised(zoo.spec("deeplab_largefov", **SMALL))
    with pytest.raises(CaffeFormatError, match="BatchNorm"):
        net_text(net, "v1")


def test_the_plain_net_has_the_zoo_net_s_layers_and_the_same_scores(trained, rng):
    plain = plain_net(trained)
    wanted = zoo.spec("deeplab_largefov", dialect="v2", **SMALL)
    assert [(layer.name, layer.type, layer.bottoms, layer.tops) for layer in plain.layers] == [
        (layer.name, layer.type, layer.bottoms, layer.tops) for layer in wanted.layers
    ]
    assert plain.param_shapes == wanted.param_shapes
    assert all(blob.dtype == np.float32 for blobs in plain.weights.values() for blob in blobs)
    x = 60 * torch.randn(1, 3, 33, 41, generator=rng)
    with torch.no_grad():
        before, after = (net(data=x)["fc8_interp"] for net in (trained, CaffeNet(plain)))
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5 * float(before.abs().max()))


def test_aspp_heads_fold_too(rng):
    net = CaffeNet(spec("deeplab_vgg16_aspp_s"), generator=rng)
    with torch.no_grad():
        for name, blobs in net.params.items():
            if name.endswith("_bn"):
                blobs[1].fill_(2)
                blobs[2].fill_(1)
    plain = plain_net(net)
    assert not [layer for layer in plain.layers if layer.type in ("BatchNorm", "Scale")]
    x = torch.randn(1, 3, 33, 41, generator=rng)
    with torch.no_grad():
        before, after = (made(data=x)["fc8_interp"] for made in (net, CaffeNet(plain)))
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5 * float(before.abs().max()))


def test_a_training_net_has_no_fixed_statistics_to_fold():
    with pytest.raises(ValueError, match="phase TEST"):
        plain_net(CaffeNet(spec(phase="TRAIN")))
