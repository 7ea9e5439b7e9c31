"""MSc of DeepLab v1, as the release has it."""

from __future__ import annotations

import pytest
import torch

from deeplab_repro import CaffeNet, zoo
from deeplab_repro.zoo import models

SMALL = {"width": 1 / 32, "size": (33, 41)}


def test_branches_add_640_channels_beside_fc7():
    net = zoo.spec("deeplab_msc_largefov", fusion="features")
    assert net.blobs["fc7_ms"][1] - net.blobs["fc7"][1] == 640


def test_released_names_strides_and_multipliers():
    train, test = (zoo.spec("deeplab_msc_largefov", phase=phase) for phase in ("TRAIN", "TEST"))
    strides = [train.layer(f"{blob}_conv").options.stride[0] for blob in ("data", "pool1", "pool2", "pool3", "pool4")]
    assert strides == [8, 4, 2, 1, 1]
    assert {layer.options.stride for layer in test.layers if layer.type == "Convolution"} == {(1, 1)}
    zooms = [test.layer(f"{blob}_interp").options.zoom_factor for blob in ("pool1", "pool2", "pool3", "pool4", "fc8")]
    assert zooms == [2, 4, 8, 8, 8]
    fused = ("data_ms", "pool1_interp", "pool2_interp", "pool3_interp", "pool4_interp", "fc8_interp")
    assert test.layer("fc_fusion").bottoms == fused
    trained = {layer.name for layer in train.layers if any(param.lr_mult for param in layer.params)}
    branches = {f"{b}_{part}" for b in ("data", "pool1", "pool2", "pool3", "pool4") for part in ("conv", "fc", "ms")}
    assert trained == branches | {"fc8_voc12"}
    assert [param.lr_mult for param in train.layer("fc8_voc12").params] == [1, 2]
    assert train.layer("data_conv").options.weight_filler.std == 0.001
    assert [layer.name for layer in test.layers[:2]] == ["data_conv", "relu_data_conv"]


def test_fused_features_are_the_sum_of_the_branches_scores():
    # One classifier over joined channels is the sum of classifiers over each: the papers' words and the release agree.
    torch.manual_seed(0)
    summed = models.build("deeplab_msc_largefov", fusion="coarse", **SMALL)
    joined = models.build("deeplab_msc_largefov", fusion="features", **SMALL)
    parts = ["fc8_voc12", *(f"{blob}_ms" for blob in ("data", "pool1", "pool2", "pool3", "pool4"))]
    with torch.no_grad():
        for name, blobs in joined.params.items():
            if blobs and name != "fc8_voc12":
                for ours, theirs in zip(blobs, summed.params[name], strict=True):
                    ours.copy_(theirs.normal_(0, 0.3))
        for part in parts:
            summed.params[part][0].normal_()
            summed.params[part][1].normal_()
        joined.params["fc8_voc12"][0].copy_(torch.cat([summed.params[part][0] for part in parts], 1))
        joined.params["fc8_voc12"][1].copy_(sum(summed.params[part][1] for part in parts))
    x = torch.randn(1, 3, 33, 41)
    ours, theirs = (net(data=x)["fc8_interp"] for net in (joined, summed))
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


@pytest.mark.parametrize("name", ["deeplab_msc", "deeplab_msc_largefov"])
def test_training_moves_the_branches_alone(name):
    torch.manual_seed(0)
    net = CaffeNet(zoo.spec(name, 3, phase="TRAIN", width=1 / 32, size=(33, 33)))
    data, label = torch.randn(1, 3, 33, 33) * 50, torch.randint(0, 3, (1, 1, 33, 33)).float()
    net(data=data, label=label).loss.backward()
    moved = {name for name, blobs in net.params.items() if any(b.grad is not None and b.grad.any() for b in blobs)}
    assert "fc8_voc12" in moved
    assert "conv1_1" not in moved
    assert "data_conv" in moved
