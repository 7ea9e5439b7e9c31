from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from deeplab_repro import models
from deeplab_repro.zoo import largefov_spec
from prototxt_import import Filler, LayerSpec, read_net

NETS = Path(__file__).parents[1] / "golden" / "nets"


def without_fillers(layers: tuple[LayerSpec, ...]) -> list[LayerSpec]:
    def plain(options):
        names = [name for name in ("weight_filler", "bias_filler") if hasattr(options, name)]
        return replace(options, **dict.fromkeys(names, Filler()))

    return [replace(one, options=plain(one.options)) for one in layers]


@pytest.mark.parametrize("name", ["v1_largefov_oldformat", "v2_largefov"])
def test_largefov_equals_the_golden_net_but_for_fillers(name):
    golden = read_net(NETS / name / "net.prototxt")
    ours = largefov_spec(width=1 / 16, size=golden.inputs["data"][2:], dialect=golden.dialect)
    assert without_fillers(ours.layers) == without_fillers(golden.layers)
    assert ours.inputs == golden.inputs
    assert ours.blobs == golden.blobs
    assert ours.outputs == golden.outputs


def test_largefov_takes_the_golden_weights():
    folder = NETS / "v1_largefov_oldformat"
    net = models.deeplab_largefov(folder / "weights.caffemodel", width=1 / 16)
    golden = read_net(folder / "net.prototxt", folder / "weights.caffemodel")
    for layer, arrays in golden.weights.items():
        for ours, array in zip(net.params[layer], arrays, strict=True):
            assert torch.equal(ours, torch.tensor(array))


def test_full_largefov_has_the_published_number_of_parameters():
    spec = largefov_spec()
    assert sum(torch.Size(shape).numel() for shapes in spec.param_shapes.values() for shape in shapes) == 20_505_429
    assert sum(blob.numel() for blob in models.deeplab_largefov().parameters()) == 20_505_429
    assert (spec.blobs["fc8_voc12"], spec.blobs["fc8_interp"]) == ((1, 21, 41, 41), (1, 21, 321, 321))


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
    data = torch.randn(2, 3, 33, 41) * 50
    blobs = net(data=data, label=label)
    assert set(blobs) == {"loss", "accuracy"}
    blobs.loss.backward()
    assert all(p.grad.any() for p in net.parameters())
    assert net.spec.layer("fc8_x").params[1].lr_mult == 20


def test_bad_arguments():
    with pytest.raises(ValueError, match="phase must be TRAIN or TEST"):
        largefov_spec(phase="TEST2")
    with pytest.raises(ValueError, match="channels must have 5 entries"):
        largefov_spec(channels=(1, 2))
