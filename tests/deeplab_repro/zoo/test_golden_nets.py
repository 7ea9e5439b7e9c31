"""The builders against the recorded nets: every layer, its name, window, rate and multipliers, at reduced width."""

from __future__ import annotations

import pytest
import torch

from deeplab_repro import zoo
from deeplab_repro.zoo import models
from prototxt_import import read_net

THIN = {"width": 1 / 16}
NOUP = {**THIN, "fc_channels": 1024}  # the recordings have 64 of 4096


# Name, variant, phase, facts, layers that only the recording or only the release has.
@pytest.mark.parametrize(
    ("name", "variant", "phase", "facts", "beyond"),
    [
        ("v1_largefov_oldformat", "deeplab_largefov", "TEST", THIN, ()),
        ("v2_largefov", "deeplab_largefov", "TEST", THIN, ()),
        ("v1_full_largefov", "deeplab_largefov", "TEST", {}, ()),
        ("v2_full_largefov_b2", "deeplab_largefov", "TEST", {}, ()),
        ("v2_full_largefov_train", "deeplab_largefov", "TRAIN", {}, ("accuracy", "fc8_interp")),
        ("v1_noup_train", "deeplab", "TRAIN", NOUP, ()),
        ("v1_noup_train_306", "deeplab", "TRAIN", NOUP, ()),
        ("v1_noup_test", "deeplab", "TEST", NOUP, ()),
        ("v1_noup_test_514", "deeplab", "TEST", NOUP, ()),
        ("v2_aspp_l", "deeplab_vgg16_aspp_l", "TEST", THIN, ()),
        ("v2_res101_aspp", "deeplab_resnet101_aspp", "TEST", THIN, ("pred",)),
        ("v2_full_res101_aspp", "deeplab_resnet101_aspp", "TEST", {}, ("pred",)),
        ("v2_res101_msc", "deeplab_resnet101_aspp_msc", "TEST", {"width": 1 / 32}, ("pred",)),
        ("v2_full_res101_msc", "deeplab_resnet101_aspp_msc", "TEST", {}, ("pred",)),
        (
            "v2_res_msc_train",
            "deeplab_resnet101_aspp_msc",
            "TRAIN",
            {"width": 1 / 32, "depths": (3, 4, 6, 3)},
            (),
        ),
        ("v2_full_res101_msc_train", "deeplab_resnet101_aspp_msc", "TRAIN", {}, ()),
    ],
)
def test_builders_equal_the_golden_nets_but_for_fillers(
    name, variant, phase, facts, beyond, golden_nets, without_fillers
):
    golden = read_net(golden_nets(name) / "net.prototxt", phase=phase)
    shape = golden.inputs["data"]
    net = zoo.spec(variant, phase=phase, size=shape[2:], batch=shape[0], dialect=golden.dialect, **facts)
    ours, theirs = ([layer for layer in spec.layers if layer.name not in beyond] for spec in (net, golden))
    assert without_fillers(ours) == without_fillers(theirs)
    assert len(ours) >= 40
    assert net.inputs == golden.inputs
    assert {blob: golden.blobs[blob] for blob in net.blobs if blob not in beyond} == {
        blob: shape for blob, shape in net.blobs.items() if blob not in beyond
    }


# These recordings have names and multipliers of their own; the release's (data_conv, fc_fusion, trained branches beside
# a frozen net) are in test_multi_layer. So what computes each output is compared.
@pytest.mark.parametrize(
    ("name", "phase", "fusion", "output"),
    [
        ("v1_msc_largefov_released", "TEST", "coarse", "fc8_interp"),
        ("v2_msc_largefov_released", "TEST", "coarse", "fc8_interp"),
        ("v2_msc_largefov_released_train", "TRAIN", "scores", "loss"),
        ("v1_msc_largefov_oldformat", "TEST", "features", "fc8_interp"),
        ("v2_msc_largefov", "TEST", "features", "fc8_interp"),
    ],
)
def test_multi_layer_nets_compute_what_the_golden_nets_do(name, phase, fusion, output, golden_nets, signatures):
    golden = read_net(golden_nets(name) / "net.prototxt", phase=phase)
    net = zoo.spec(
        "deeplab_msc_largefov",
        phase=phase,
        size=golden.inputs["data"][2:],
        width=1 / 16,
        fusion=fusion,
        dialect=golden.dialect,
    )
    assert signatures(net)[output] == signatures(golden)[output]
    assert net.blobs[output] == golden.blobs[output]


def test_largefov_takes_the_golden_weights(golden_nets):
    folder = golden_nets("v1_largefov_oldformat")
    net = models.deeplab_largefov(folder / "weights.caffemodel", width=1 / 16)
    golden = read_net(folder / "net.prototxt", folder / "weights.caffemodel")
    assert set(golden.weights) == {name for name, blobs in net.params.items() if blobs}
    for layer, arrays in golden.weights.items():
        for ours, array in zip(net.params[layer], arrays, strict=True):
            assert torch.equal(ours, torch.tensor(array))
