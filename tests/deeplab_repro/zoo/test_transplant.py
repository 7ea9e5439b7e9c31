"""Beginnings of training as published, on a synthetic VGG-16 whose numbers say where they stood."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deeplab_repro import zoo
from deeplab_repro.zoo import models
from deeplab_repro.zoo.transplant import COPIED, DRAWN, THINNED, spread, taps, transplant
from prototxt_import import read_weights, write_weights
from tests.deeplab_repro.zoo.small_vgg16 import WIDTH, vgg16


def fates(moved):
    return {fate.layer: fate.outcome for fate in moved.fates}


def test_largefov_gets_every_fourth_filter_and_the_outer_and_middle_taps():
    stored = vgg16()
    moved = transplant(zoo.spec("deeplab_largefov", width=WIDTH), stored)
    fc6 = stored["fc6"][0].reshape(128, 16, 7, 7)
    weight, bias = moved.weights["fc6"]
    assert weight.shape == (32, 16, 3, 3)
    assert np.array_equal(weight, fc6[::4, :, ::3, ::3])
    assert bias.tolist() == list(range(0, 128, 4))
    # fc7 reads the filters that fc6 kept.
    assert np.array_equal(moved.weights["fc7"][0][:, :, 0, 0], stored["fc7"][0][::4, ::4])
    assert np.array_equal(moved.weights["conv5_3"][0], stored["conv5_3"][0])
    outcomes = fates(moved)
    assert [outcomes[name] for name in ("conv1_1", "fc6", "fc7", "fc8_voc12")] == [COPIED, THINNED, THINNED, DRAWN]
    assert moved.skipped == ("fc8",)
    assert next(fate for fate in moved.fates if fate.layer == "fc6").detail == "128 x 16 x 7 x 7 to 32 x 16 x 3 x 3"


def test_4x4_net_keeps_all_filters_and_every_second_tap():
    stored = vgg16()
    moved = transplant(zoo.spec("deeplab", width=WIDTH), stored)
    fc6 = stored["fc6"][0].reshape(128, 16, 7, 7)
    assert np.array_equal(moved.weights["fc6"][0], fc6[:, :, ::2, ::2])
    assert fates(moved)["fc7"] == COPIED


def test_7x7_net_is_the_classifier_made_convolutional():
    stored = vgg16()
    moved = transplant(zoo.spec("deeplab_7x7", width=WIDTH), stored)
    assert np.array_equal(moved.weights["fc6"][0].reshape(128, -1), stored["fc6"][0])
    assert {outcome for name, outcome in fates(moved).items() if name != "fc8_voc12"} == {COPIED}


def test_old_files_with_four_axes_everywhere_are_taken_alike():
    stored = vgg16()
    old = {
        name: [weight.reshape((1,) * (4 - weight.ndim) + weight.shape), bias.reshape(1, 1, 1, -1)]
        for name, (weight, bias) in stored.items()
    }
    for variant in ("deeplab_largefov", "deeplab_7x7"):
        ours, theirs = (transplant(zoo.spec(variant, width=WIDTH), source).weights for source in (stored, old))
        for name, blobs in ours.items():
            assert all(map(np.array_equal, blobs, theirs[name]))


def test_a_weight_of_one_axis_fits_nothing():
    stored = vgg16()
    stored["fc6"][0] = stored["fc6"][0].reshape(-1)
    assert fates(transplant(zoo.spec("deeplab_largefov", width=WIDTH), stored))["fc6"] == DRAWN


def test_every_branch_of_aspp_begins_with_the_same_fc6():
    moved = transplant(zoo.spec("deeplab_vgg16_aspp_l", width=WIDTH), vgg16())
    first = moved.weights["fc6_1"]
    assert all(np.array_equal(moved.weights[f"fc6_{i}"][0], first[0]) for i in (2, 3, 4))
    assert {fate.origin for fate in moved.fates if fate.layer.startswith("fc7_")} == {"fc7"}


def test_msc_takes_the_net_it_was_added_to_and_draws_its_branches():
    trained = models.build("deeplab_largefov", width=WIDTH)
    stored = {name: [blob.detach().numpy() for blob in blobs] for name, blobs in trained.params.items() if blobs}
    moved = transplant(zoo.spec("deeplab_msc_largefov", width=WIDTH), stored)
    drawn = {name for name, outcome in fates(moved).items() if outcome == DRAWN}
    branches = {f"{b}_{part}" for b in ("data", "pool1", "pool2", "pool3", "pool4") for part in ("conv", "fc", "ms")}
    assert drawn == branches
    assert moved.skipped == ()


def test_another_number_of_classes_draws_the_classifier_anew():
    trained = models.build("deeplab_largefov", width=WIDTH)
    stored = {name: [blob.detach().numpy() for blob in blobs] for name, blobs in trained.params.items() if blobs}
    moved = transplant(zoo.spec("deeplab_largefov", 7, width=WIDTH), stored)
    (drawn,) = [fate for fate in moved.fates if fate.outcome == DRAWN]
    assert (drawn.layer, drawn.detail) == ("fc8_voc12", "shape [21, 32, 1, 1] there, [7, 32, 1, 1] here")


def test_imagenet_resnet_fills_all_scales_but_the_classifiers():
    small = {"width": 1 / 32, "depths": (1, 2, 2, 1)}
    imagenet = models.build("deeplab_resnet101_aspp", **small)
    stored = {
        name: [blob.detach().numpy() for blob in blobs]
        for name, blobs in imagenet.params.items()
        if blobs and not name.startswith("fc1_")
    }
    stored["fc1000"] = [np.zeros((1000, 64), "f4"), np.zeros(1000, "f4")]
    net = zoo.spec("deeplab_resnet101_aspp_msc", **small)
    moved = transplant(net, stored)
    assert {name for name, outcome in fates(moved).items() if outcome == DRAWN} == {f"fc1_voc12_c{i}" for i in range(4)}
    assert not [name for name in fates(moved) if "_res0" in name]
    assert moved.skipped == ("fc1000",)


@pytest.mark.parametrize(
    ("have", "want", "kept"), [(7, 4, [0, 2, 4, 6]), (7, 3, [0, 3, 6]), (7, 1, [3]), (4, 4, [0, 1, 2, 3])]
)
def test_taps(have, want, kept):
    assert taps(have, want).tolist() == kept


def test_filters_are_spread_evenly():
    assert spread(4096, 1024).tolist() == list(range(0, 4096, 4))
    assert spread(5, 3).tolist() == [0, 1, 3]


def test_a_smaller_source_is_not_stretched():
    stored = vgg16(fc=16)
    moved = transplant(zoo.spec("deeplab_largefov", width=WIDTH), stored)
    assert fates(moved)["fc6"] == DRAWN
    assert set(moved.skipped) == {"fc6", "fc7", "fc8"}


def test_models_begin_with_another_net(tmp_path):
    write_weights(vgg16(), None, tmp_path / "vgg.caffemodel")
    net = models.deeplab_largefov(init=tmp_path / "vgg.caffemodel", width=WIDTH)
    assert net.params["fc7"][1].tolist() == list(range(0, 128, 4))
    assert net.params["fc8_voc12"][0].std() > 0
    assert torch.equal(net.params["conv1_1"][0], torch.tensor(read_weights(tmp_path / "vgg.caffemodel")["conv1_1"][0]))
    with pytest.raises(ValueError, match="weights and init exclude each other"):
        models.deeplab_largefov("a.caffemodel", init="b.caffemodel")
