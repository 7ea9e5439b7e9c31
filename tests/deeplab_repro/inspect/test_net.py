"""What `deeplab inspect` knows about a net and a weight file."""

import json

import numpy as np
import pytest

from deeplab_repro.inspect import (
    activation_bytes,
    effective_rate,
    found_variables,
    inspect_net,
    inspect_weights,
    receptive_fields,
)
from deeplab_repro.zoo import vgg16_spec
from prototxt_import import read_net


def _net(tmp_path, layers, size=(321, 321)):
    text = f'name: "n"\ninput: "data"\ninput_shape {{ dim: 1 dim: 3 dim: {size[0]} dim: {size[1]} }}\n{layers}'
    (tmp_path / "n.prototxt").write_text(text)
    return read_net(tmp_path / "n.prototxt")


def _conv(name, bottom, **fields):
    facts = " ".join(f"{key}: {value}" for key, value in {"num_output": 2, **fields}.items())
    head = f'name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}"'
    return f"layer {{ {head} convolution_param {{ {facts} }} }}\n"


def _pool(name, bottom, stride):
    return (
        f'layer {{ name: "{name}" type: "Pooling" bottom: "{bottom}" top: "{name}" '
        f"pooling_param {{ pool: MAX kernel_size: 3 stride: {stride} pad: 1 }} }}\n"
    )


def test_counts_of_the_toy_net(toy):
    report = inspect_net(toy.spec)
    by_name = {layer.name: layer for layer in report.layers}
    assert by_name["conv1"].params == ((4, 3, 3, 3), (4,))
    assert by_name["conv1"].parameters == 4 * 3 * 9 + 4
    assert by_name["conv1"].macs == 33 * 33 * 4 * 3 * 9
    assert by_name["fc"].macs == 17 * 17 * 5 * 4 * 9
    assert by_name["relu1"].parameters == by_name["relu1"].macs == 0
    assert report.parameters == 112 + 185
    assert report.macs == by_name["conv1"].macs + by_name["fc"].macs
    assert report.inputs == {"data": (1, 3, 33, 33)}
    assert report.outputs == ("fc_interp",)


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
            layers += _conv(f"conv{stage}_{index}", below, kernel_size=3, pad=1)
            below = f"conv{stage}_{index}"
        pool = f'layer {{ name: "pool{stage}" type: "Pooling" bottom: "{below}" top: "pool{stage}" '
        layers += pool + "pooling_param { pool: MAX kernel_size: 2 stride: 2 } }\n"
        below = f"pool{stage}"
    field = receptive_fields(_net(tmp_path, layers, (224, 224)))["pool5"]
    assert (field.size, field.stride) == ((212, 212), (32, 32))


def test_the_field_measured_by_gradients_is_the_one_computed(tmp_path):
    torch = pytest.importorskip("torch")
    from deeplab_repro.net.network import CaffeNet

    layers = (
        _conv("a", "data", kernel_h=3, kernel_w=5, pad_h=1, pad_w=0, stride=2)
        + _pool("b", "a", 2).replace("MAX", "AVE")
        + _conv("c", "b", kernel_size=3, dilation=2, pad=2)
    )
    spec = _net(tmp_path, layers, (65, 65))
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


def test_shared_parameters_count_once(tmp_path):
    first = _conv("a", "data", kernel_size=3, pad=1)
    shared = 'param { name: "w" } param { name: "b" } convolution_param'
    second = first.replace('name: "a"', 'name: "b"').replace('top: "a"', 'top: "b"')
    spec = _net(tmp_path, (first + second).replace("convolution_param", shared))
    report = inspect_net(spec)
    assert report.parameters == 2 * 3 * 9 + 2
    assert [layer.parameters for layer in report.layers] == [56, 56]


def test_variables_are_found_with_their_lines(tmp_path):
    (tmp_path / "a.prototxt").write_text('name: "${NET_ID}#" # ${EXP}\n\nname: "${NET_ID}" x: ${NUM}')
    found = [(each.name, each.lines) for each in found_variables(tmp_path / "a.prototxt")]
    assert found == [("NET_ID", (1, 3)), ("NUM", (3,))]


def test_variables_without_a_value_may_stay_open(tmp_path, deeplab, refused):
    text = 'name: "${NET_ID}"\ninput: "data" input_shape { dim: 1 dim: 3 dim: 9 dim: 9 }\n'
    (tmp_path / "a.prototxt").write_text(text + _conv("c", "data", kernel_size=1))
    result = deeplab("inspect", tmp_path / "a.prototxt")
    assert result.exit_code == 0, result.output
    assert "variable NET_ID, line 1: no value given" in result.stdout
    result = deeplab("inspect", tmp_path / "a.prototxt", "--var", "NET_ID=x", "--json", "-")
    (net,) = json.loads(result.stdout)["files"]
    assert net["variables"] == [{"name": "NET_ID", "lines": [1], "value": "x"}]
    assert net["name"] == "x"
    (tmp_path / "b.prototxt").write_text(text + _conv("c", "data", kernel_size="${K}"))
    refused("no value for NET_ID, K", "inspect", tmp_path / "b.prototxt")


def test_the_published_facts_of_largefov():
    report = inspect_net(vgg16_spec())
    by_name = {layer.name: layer for layer in report.layers}
    assert report.parameters == 20_505_429
    assert report.parameter_bytes == 4 * 20_505_429
    assert by_name["pool5"].shapes == ((1, 512, 41, 41),)
    assert by_name["fc8_voc12"].shapes == ((1, 21, 41, 41),)
    assert by_name["conv5_1"].rate == (16, 16)
    assert by_name["fc6"].rate == (96, 96)
    assert by_name["fc7"].rate is None
    assert (by_name["fc6"].field.size, by_name["fc6"].field.stride) == ((435, 435), (8, 8))


# Kernel and rate of fc6, "receptive field" as published (v1 table 2); the net's own field, pools of two as published.
@pytest.mark.parametrize(
    ("kernel", "rate", "published", "whole"), [(7, 4, 224, 404), (4, 4, 128, 308), (4, 8, 224, 404), (3, 12, 224, 404)]
)
def test_the_published_receptive_fields(tmp_path, kernel, rate, published, whole):
    layers, below = "", "data"
    for stage, count in enumerate((2, 2, 3, 3, 3), 1):
        hole = 2 if stage == 5 else 1
        for index in range(1, count + 1):
            layers += _conv(f"conv{stage}_{index}", below, kernel_size=3, pad=hole, dilation=hole)
            below = f"conv{stage}_{index}"
        pool = {4: "kernel_size: 2 stride: 1", 5: "kernel_size: 3 stride: 1 pad: 1"}.get(
            stage, "kernel_size: 2 stride: 2"
        )
        layers += f'layer {{ name: "pool{stage}" type: "Pooling" bottom: "{below}" top: "pool{stage}" '
        layers += f"pooling_param {{ pool: MAX {pool} }} }}\n"
        below = f"pool{stage}"
    spec = _net(tmp_path, layers + _conv("fc6", below, kernel_size=kernel, dilation=rate, pad=12))
    fields = receptive_fields(spec)
    step, _ = effective_rate(spec.layer("fc6"), fields)
    # The papers count from VGG-16's 32 pixels between two elements of pool5, for each tap what it adds.
    assert (kernel - 1) * step + 32 == published
    assert fields["pool5"].size == (212, 212)
    assert fields["fc6"].size == (whole, whole)


def test_memory_of_a_chain_a_branch_and_an_in_place_layer(tmp_path):
    relu = 'layer { name: "r" type: "ReLU" bottom: "a" top: "a" }\n'
    add = 'layer { name: "s" type: "Eltwise" bottom: "b" bottom: "c" top: "s" }\n'
    layers = _conv("a", "data", kernel_size=1) + relu + _conv("b", "a", kernel_size=1) + _conv("c", "a", kernel_size=1)
    spec = _net(tmp_path, layers + add, (10, 10))
    plane = 4 * 100
    # data 3 planes, a, b, c and s 2 each; at most a, b and c, or b, c and s, are there together.
    assert activation_bytes(spec) == (11 * plane, 6 * plane)
    assert activation_bytes(_net(tmp_path, _conv("a", "data", kernel_size=1), (10, 10))) == (5 * plane, 5 * plane)


def test_layers_that_see_everything_have_no_field(tmp_path):
    global_pool = (
        'layer { name: "g" type: "Pooling" bottom: "a" top: "g" pooling_param { pool: AVE global_pooling: true } }\n'
    )
    mvn = 'layer { name: "m" type: "MVN" bottom: "a" top: "m" }\n'
    crop = (
        'layer { name: "c" type: "Crop" bottom: "a" bottom: "b" top: "c" crop_param { axis: 2 offset: 2 offset: 3 } }\n'
    )
    small = _conv("b", "data", kernel_size=5)
    fields = receptive_fields(
        _net(tmp_path, _conv("a", "data", kernel_size=1) + global_pool + mvn + small + crop, (9, 9))
    )
    assert fields["g"] is None
    assert fields["m"] is None
    assert (fields["c"].size, fields["c"].offset) == ((1, 1), (2, 3))


def test_weight_file(toy):
    report = inspect_weights(toy.caffemodel)
    assert {name: list(shapes) for name, shapes in report.layers.items() if shapes} == {
        name: [blob.shape for blob in blobs] for name, blobs in toy.weights.items()
    }
    assert report.parameters == 297
    assert report.size == toy.caffemodel.stat().st_size


def test_the_verb_prints_tables_and_json(toy, deeplab, tmp_path):
    result = deeplab("inspect", toy.prototxt, toy.caffemodel)
    assert result.exit_code == 0, result.output
    told = "dialect v2 (Interp (layer 'fc_interp'))"
    for word in ("fc_interp", "Interp", "4 x 3 x 3 x 3", "297 parameters", told, "1 x 3 x 33 x 33", "memory: "):
        assert word in result.stdout
    result = deeplab("inspect", toy.prototxt, toy.caffemodel, "--json", "-")
    net, weights = json.loads(result.stdout)["files"]
    assert net["parameters"] == weights["parameters"] == 297
    assert net["layers"][0]["field"] == {"size": [3, 3], "stride": [1, 1], "offset": [0, 0]}


def test_a_checkpoint_is_inspected_like_a_net(toy, deeplab, tmp_path):
    assert deeplab("convert", toy.prototxt, toy.caffemodel, "-o", tmp_path / "a.safetensors").exit_code == 0
    result = deeplab("inspect", tmp_path / "a.safetensors", "--json", "-")
    assert json.loads(result.stdout)["files"][0]["parameters"] == 297


def test_what_inspect_refuses(refused, tmp_path):
    (tmp_path / "open.prototxt").write_text('layer { name: "a" ')
    (tmp_path / "a.txt").write_text("hello")
    (tmp_path / "bad.caffemodel").write_bytes(bytes(np.random.default_rng(0).integers(0, 256, 500, np.uint8)))
    for name in ("open.prototxt", "nothing.prototxt", "a.txt", "bad.caffemodel", "nothing.caffemodel"):
        refused(name, "inspect", tmp_path / name)
