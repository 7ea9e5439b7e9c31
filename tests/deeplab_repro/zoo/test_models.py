"""Zoo models as running nets."""

from __future__ import annotations

import pytest
import torch

from deeplab_repro import zoo
from deeplab_repro.zoo import models

TINY = {"deeplab": 1 / 32, "deeplab_4x4": 1 / 32, "deeplab_7x7": 1 / 32, "deeplab_msc": 1 / 32}


def size_for(name):
    facts = zoo.variant(name).facts
    if facts.get("head") in ("noup", "4x4", "7x7"):
        return (34, 42)
    return (33, 65) if facts.get("multi_scale") else (33, 41)


@pytest.mark.parametrize("name", models.__all__)
def test_every_model_runs_and_ends_at_the_size_of_the_image(name):
    depth = {"depths": (1, 1, 1, 1)} if "resnet" in name else {}
    net = getattr(models, name)(num_classes=3, width=TINY.get(name, 1 / 16), size=size_for(name), **depth)
    with torch.no_grad():
        blobs = net(data=torch.randn(1, 3, *size_for(name)))
    (scores,) = blobs.values()
    assert scores.shape == (1, 3, *size_for(name))
    assert scores.isfinite().all()
    # Fresh statistics leave values as they are: no layer multiplies them by 1 / sqrt(eps).
    assert scores.abs().max() < 1e3


def test_training_form_has_loss_and_accuracy_and_can_learn():
    torch.manual_seed(0)
    net = models.deeplab_largefov(
        num_classes=3,
        channels=(4, 4, 8, 8, 8),
        fc_channels=8,
        size=(33, 41),
        batch=2,
        phase="TRAIN",
        classifier="fc8_x",
    )
    label = torch.randint(0, 3, (2, 1, 33, 41)).float()
    label[0, 0, :8] = 255
    blobs = net(data=torch.randn(2, 3, 33, 41) * 50, label=label)
    assert set(blobs) == {"loss", "accuracy"}
    blobs.loss.backward()
    assert all(p.grad.any() for p in net.parameters())
    assert net.spec.layer("fc8_x").params[1].lr_mult == 20


def test_first_release_trains_with_labels_of_its_odd_grid():
    net = models.deeplab(num_classes=3, width=1 / 32, size=(34, 42), phase="TRAIN")
    label = torch.full((1, 1, 34, 42), 255.0)
    label[0, 0, 1::8, 1::8] = 1
    blobs = net(data=torch.randn(1, 3, 34, 42), label=label, blobs="all")
    assert (blobs["label_shrink"] == 1).all()
    blobs.loss.backward()
    assert net.params["fc8_voc12"][0].grad.any()


def test_multi_scale_training_form_has_four_losses_and_can_learn():
    net = models.deeplab_resnet101(
        num_classes=3, width=1 / 32, depths=(1, 1, 1, 1), size=(65, 65), phase="TRAIN", classifier="fc1_x"
    )
    label = torch.randint(0, 3, (1, 1, 65, 65)).float()
    blobs = net(data=torch.randn(1, 3, 65, 65), label=label)
    losses = [blobs[name] for name in ("loss", "loss_res1", "loss_res075", "loss_res05")]
    assert torch.allclose(blobs.loss, torch.stack(losses).sum())
    blobs.loss.backward()
    assert net.params["conv1"][0].grad.any()
    assert net.params["conv1_res05"][0] is net.params["conv1"][0]


def test_single_scale_resnet_with_one_classifier():
    net = models.deeplab_resnet101_largefov(width=1 / 16, depths=(1, 1, 1, 1), size=(33, 41))
    assert net.spec.layer("fc1_voc12").options.dilation == (12, 12)


def test_entries_tell_what_they_are():
    assert models.deeplab_msc_largefov.__name__ == "deeplab_msc_largefov"
    assert "20,505,429" in models.deeplab_largefov.__doc__
