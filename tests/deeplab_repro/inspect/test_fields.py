"""Receptive fields, computed, measured and as published."""

import pytest

from deeplab_repro.inspect import (
    effective_rate,
    receptive_fields,
)
from tests.deeplab_repro.inspect.drawn_nets import conv, net_of, pool


def test_receptive_fields_of_the_toy_net(toy):
    fields = receptive_fields(toy.spec)
    assert fields["conv1"].size == (3, 3)
    assert (fields["pool1"].size, fields["pool1"].stride, fields["pool1"].offset) == ((5, 5), (2, 2), (0, 0))
    assert (fields["fc"].size, fields["fc"].stride) == ((13, 13), (2, 2))
    assert fields["fc_interp"].stride == (1, 1)


def test_vgg16_sees_212_pixels_at_pool5_as_is_well_known(tmp_path):
    layers, below = "", "data"
    for stage, count in enumerate((2, 2, 3, 3, 3), 1):
        for index in range(1, count + 1):
            layers += conv(f"conv{stage}_{index}", below, kernel_size=3, pad=1)
            below = f"conv{stage}_{index}"
        pool = f'layer {{ name: "pool{stage}" type: "Pooling" bottom: "{below}" top: "pool{stage}" '
        layers += pool + "pooling_param { pool: MAX kernel_size: 2 stride: 2 } }\n"
        below = f"pool{stage}"
    field = receptive_fields(net_of(tmp_path, layers, (224, 224)))["pool5"]
    assert (field.size, field.stride) == ((212, 212), (32, 32))


def test_the_field_measured_by_gradients_is_the_one_computed(tmp_path):
    torch = pytest.importorskip("torch")
    from deeplab_repro.net.network import CaffeNet

    layers = (
        conv("a", "data", kernel_h=3, kernel_w=5, pad_h=1, pad_w=0, stride=2)
        + pool("b", "a", 2).replace("MAX", "AVE")
        + conv("c", "b", kernel_size=3, dilation=2, pad=2)
    )
    spec = net_of(tmp_path, layers, (65, 65))
    field = receptive_fields(spec)["c"]
    net = CaffeNet(spec)
    with torch.no_grad():
        for blobs in net.params.values():
            for blob in blobs:
                blob.fill_(1)
    x = torch.ones(1, 3, 65, 65, requires_grad=True)
    c = net(data=x, blobs=["c"])["c"]
    row, column = c.shape[2] // 2, c.shape[3] // 2
    c[0, 0, row, column].backward()
    touched = x.grad[0, 0].nonzero()
    for axis, at in enumerate((row, column)):
        first, last = touched[:, axis].min().item(), touched[:, axis].max().item()
        assert first == field.first[axis] + at * field.stride[axis]
        assert last == field.last[axis] + at * field.stride[axis]


# Kernel and rate of fc6, "receptive field" as published (v1 table 2); the net's own field, pools of two as published.
@pytest.mark.parametrize(
    ("kernel", "rate", "published", "whole"), [(7, 4, 224, 404), (4, 4, 128, 308), (4, 8, 224, 404), (3, 12, 224, 404)]
)
def test_the_published_receptive_fields(tmp_path, kernel, rate, published, whole):
    layers, below = "", "data"
    for stage, count in enumerate((2, 2, 3, 3, 3), 1):
        hole = 2 if stage == 5 else 1
        for index in range(1, count + 1):
            layers += conv(f"conv{stage}_{index}", below, kernel_size=3, pad=hole, dilation=hole)
            below = f"conv{stage}_{index}"
        pool = {4: "kernel_size: 2 stride: 1", 5: "kernel_size: 3 stride: 1 pad: 1"}.get(
            stage, "kernel_size: 2 stride: 2"
        )
        layers += f'layer {{ name: "pool{stage}" type: "Pooling" bottom: "{below}" top: "pool{stage}" '
        layers += f"pooling_param {{ pool: MAX {pool} }} }}\n"
        below = f"pool{stage}"
    spec = net_of(tmp_path, layers + conv("fc6", below, kernel_size=kernel, dilation=rate, pad=12))
    fields = receptive_fields(spec)
    step, _ = effective_rate(spec.layer("fc6"), fields)
    # The papers count from VGG-16's 32 pixels between two elements of pool5, for each tap what it adds.
    assert (kernel - 1) * step + 32 == published
    assert fields["pool5"].size == (212, 212)
    assert fields["fc6"].size == (whole, whole)


def test_layers_that_see_everything_have_no_field(tmp_path):
    global_pool = (
        'layer { name: "g" type: "Pooling" bottom: "a" top: "g" pooling_param { pool: AVE global_pooling: true } }\n'
    )
    mvn = 'layer { name: "m" type: "MVN" bottom: "a" top: "m" }\n'
    crop = (
        'layer { name: "c" type: "Crop" bottom: "a" bottom: "b" top: "c" crop_param { axis: 2 offset: 2 offset: 3 } }\n'
    )
    small = conv("b", "data", kernel_size=5)
    fields = receptive_fields(
        net_of(tmp_path, conv("a", "data", kernel_size=1) + global_pool + mvn + small + crop, (9, 9))
    )
    assert fields["g"] is None
    assert fields["m"] is None
    assert (fields["c"].size, fields["c"].offset) == ((1, 1), (2, 3))
