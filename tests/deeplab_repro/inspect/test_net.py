"""What `deeplab inspect` knows about a net and a weight file."""

from deeplab_repro.inspect import (
    activation_bytes,
    found_variables,
    inspect_net,
    inspect_weights,
)
from deeplab_repro.zoo import vgg16_spec
from tests.deeplab_repro.inspect.drawn_nets import conv, net_of


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


def test_shared_parameters_count_once(tmp_path):
    first = conv("a", "data", kernel_size=3, pad=1)
    shared = 'param { name: "w" } param { name: "b" } convolution_param'
    second = first.replace('name: "a"', 'name: "b"').replace('top: "a"', 'top: "b"')
    spec = net_of(tmp_path, (first + second).replace("convolution_param", shared))
    report = inspect_net(spec)
    assert report.parameters == 2 * 3 * 9 + 2
    assert [layer.parameters for layer in report.layers] == [56, 56]


def test_variables_are_found_with_their_lines(tmp_path):
    (tmp_path / "a.prototxt").write_text('name: "${NET_ID}#" # ${EXP}\n\nname: "${NET_ID}" x: ${NUM}')
    variables = [(variable.name, variable.lines) for variable in found_variables(tmp_path / "a.prototxt")]
    assert variables == [("NET_ID", (1, 3)), ("NUM", (3,))]


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


def test_memory_of_a_chain_a_branch_and_an_in_place_layer(tmp_path):
    relu = 'layer { name: "r" type: "ReLU" bottom: "a" top: "a" }\n'
    add = 'layer { name: "s" type: "Eltwise" bottom: "b" bottom: "c" top: "s" }\n'
    layers = conv("a", "data", kernel_size=1) + relu + conv("b", "a", kernel_size=1) + conv("c", "a", kernel_size=1)
    spec = net_of(tmp_path, layers + add, (10, 10))
    plane = 4 * 100
    # data 3 planes, a, b, c and s 2 each; at most a, b and c, or b, c and s, are there together.
    assert activation_bytes(spec) == (11 * plane, 6 * plane)
    assert activation_bytes(net_of(tmp_path, conv("a", "data", kernel_size=1), (10, 10))) == (5 * plane, 5 * plane)


def test_weight_file(toy):
    report = inspect_weights(toy.caffemodel)
    assert {name: list(shapes) for name, shapes in report.layers.items() if shapes} == {
        name: [blob.shape for blob in blobs] for name, blobs in toy.weights.items()
    }
    assert report.parameters == 297
    assert report.size == toy.caffemodel.stat().st_size
