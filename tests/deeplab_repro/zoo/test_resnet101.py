"""DeepLab's nets on ResNet-101."""

from __future__ import annotations

import math

from deeplab_repro import zoo


def test_resnet101_has_the_published_blobs():
    spec = zoo.spec("deeplab_resnet101")
    owners = {}
    for layer in spec.layers:
        for param, shape in zip(layer.params, spec.param_shapes.get(layer.name, ()), strict=True):
            owners.setdefault(param.name, (math.prod(shape), param.lr_mult))
            assert param.lr_mult or layer.type in ("BatchNorm", "Scale")
    assert len(owners) == 632
    assert sum(count for count, _ in owners.values()) == 44_153_980
    assert sum(count for count, rate in owners.values() if rate) == 43_943_188
    assert sum(map(bool, (rate for _, rate in owners.values()))) == 112
    sizes = {name: spec.blobs[name][-1] for name in ("res5c", "res5c_res075", "res5c_res05", "fc_fusion", "fc1_interp")}
    assert sizes == {"res5c": 41, "res5c_res075": 31, "res5c_res05": 21, "fc_fusion": 41, "fc1_interp": 321}


def test_scales_of_513_meet_on_one_grid():
    net = zoo.spec("deeplab_resnet101", size=(513, 513))
    sizes = [net.blobs[name][-1] for name in ("res5c", "res5c_res075", "res5c_res05", "fc_fusion", "fc1_interp")]
    assert sizes == [65, 49, 33, 65, 513]
