from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from deeplab_repro import models
from deeplab_repro.zoo import aspp_spec, largefov_spec, resnet101_spec
from prototxt_import import Filler, LayerSpec, read_net

NETS = Path(__file__).parents[1] / "golden" / "nets"
SHARED_NETS = Path(__file__).parents[3] / "shared" / "golden" / "caffe" / "nets"


@pytest.fixture
def golden_nets():
    """The folder of a golden net by name, of those kept here or of the full set."""

    def folder(name):
        if (NETS / name).is_dir():
            return NETS / name
        if not (SHARED_NETS / name).is_dir():
            pytest.skip(f"needs ../shared/golden/caffe/nets/{name}")
        return SHARED_NETS / name

    return folder


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


# The golden nets with a prediction layer of their own at the end; the released ones end in the scores.
@pytest.mark.parametrize(
    ("name", "phase", "ours"),
    [
        ("v2_aspp_l", "TEST", lambda size: aspp_spec(width=1 / 16, size=size)),
        ("v2_res101_aspp", "TEST", lambda size: resnet101_spec(width=1 / 16, multi_scale=False, size=size)),
        ("v2_res101_msc", "TEST", lambda size: resnet101_spec(width=1 / 32, size=size)),
        (
            "v2_res_msc_train",
            "TRAIN",
            lambda size: resnet101_spec(width=1 / 32, depths=(3, 4, 6, 3), size=size, phase="TRAIN"),
        ),
        ("v2_full_res101_msc_train", "TRAIN", lambda size: resnet101_spec(size=size, phase="TRAIN")),
    ],
)
def test_builders_equal_the_golden_nets_but_for_fillers(name, phase, ours, golden_nets):
    golden = read_net(golden_nets(name) / "net.prototxt", phase=phase)
    spec = ours(golden.inputs["data"][2:])
    layers = [one for one in golden.layers if one.type != "ArgMax"]
    assert without_fillers(spec.layers) == without_fillers(layers)
    assert spec.inputs == golden.inputs
    assert {name: golden.blobs[name] for name in spec.blobs} == spec.blobs


def test_resnet101_has_the_published_number_of_parameters():
    spec = resnet101_spec()
    owners = {}
    for layer in spec.layers:
        for param, shape in zip(layer.params, spec.param_shapes.get(layer.name, ()), strict=True):
            owners.setdefault(param.name, (torch.Size(shape).numel(), param.lr_mult))
    assert len(owners) == 632
    assert sum(count for count, _ in owners.values()) == 44_153_980
    assert sum(count for count, rate in owners.values() if rate) == 43_943_188
    assert sum(map(bool, (rate for _, rate in owners.values()))) == 112
    sizes = {name: spec.blobs[name][-1] for name in ("res5c", "res5c_res075", "res5c_res05", "fc_fusion", "fc1_interp")}
    assert sizes == {"res5c": 41, "res5c_res075": 31, "res5c_res05": 21, "fc_fusion": 41, "fc1_interp": 321}


def test_vgg16_aspp_has_the_published_number_of_parameters():
    shapes = aspp_spec().param_shapes.values()
    assert sum(torch.Size(shape).numel() for each in shapes for shape in each) == 37_877_652


def test_single_scale_resnet_with_one_classifier():
    net = models.deeplab_resnet101(width=1 / 16, depths=(1, 1, 1, 1), head="largefov", multi_scale=False, size=(33, 41))
    assert net.spec.layer("fc1_voc12").options.dilation == (12, 12)
    blobs = net(data=torch.randn(1, 3, 33, 41), blobs="all")
    assert blobs["fc1_interp"].shape == (1, 21, 33, 41)
    # Fresh statistics leave values as they are: no layer multiplies them by 1 / sqrt(eps).
    assert blobs["res5a"].abs().max() < 1e3


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


def test_bad_resnet_arguments():
    with pytest.raises(ValueError, match="head must be one of aspp, largefov"):
        resnet101_spec(head="psp")
    with pytest.raises(ValueError, match="depths must have 4 entries"):
        resnet101_spec(depths=(3, 4, 6))
    with pytest.raises(ValueError, match="phase must be TRAIN or TEST"):
        resnet101_spec(phase="VAL")
    with pytest.raises(ValueError, match="fc_fusion"):
        resnet101_spec(size=(305, 305))
