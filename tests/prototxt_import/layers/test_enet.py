"""Python layers: sources, SpatialDropout, those of the user's, and those that nothing runs."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from prototxt_import import CaffeFormatError, PythonLayerOptions, layer_type, net_text, parse_net

HEAD = 'input: "x" input_dim: 2 input_dim: 3 input_dim: 9 input_dim: 13\n'


def python(param: str, bottoms: str = 'bottom: "x"', tops: str = 'top: "y"') -> str:
    return f'layer {{ name: "py" type: "Python" {bottoms} {tops} python_param {{ {param} }} }}\n'


def drop(param_str: str) -> str:
    return HEAD + python(f'module: "spatial_dropout" layer: "SpatialDropoutLayer" param_str: "{param_str}"')


def refusal(text: str) -> str:
    with pytest.raises(CaffeFormatError) as caught:
        parse_net(text, "n.prototxt")
    return str(caught.value)


def test_spatial_dropout():
    spec = parse_net(drop(r"{\'phase\': \'TRAIN\', \'p\': \'0.01\'}"))
    layer = spec.layers[0]
    assert (spec.dialect, layer.type, layer.options.p, layer.options.phase) == ("enet", "SpatialDropout", 0.01, "TRAIN")
    assert 'type: "Python"' in net_text(spec, "enet")
    assert parse_net(net_text(spec, "enet")) == spec


@pytest.mark.parametrize(
    ("param_str", "fault"),
    [
        ("", "p is missing in param_str"),
        ("{'p': '0.1'}", "phase is missing in param_str"),
        ("{'p': '0.1', 'phase': 'BOTH'}", "phase is 'BOTH' in param_str"),
        ("{'p': 'x', 'phase': 'TEST'}", "p is 'x' in param_str"),
        ("{'p': 1, 'phase': 'TEST'}", "p is 1.0; it must be in [0, 1)"),
        ("{'p': 0.1", "a dictionary in Python's notation is expected"),
        ("__import__('os')", "a dictionary in Python's notation is expected"),
    ],
)
def test_spatial_dropout_refusals(param_str, fault):
    message = refusal(drop(param_str))
    assert "layer 'py' (" in message
    assert fault in message


def test_without_bottoms_it_is_a_source():
    text = python('module: "voc_layers" layer: "VOCSegDataLayer" param_str: "{}"', "", 'top: "data" top: "label"')
    conv = 'layer { name: "c" type: "Convolution" bottom: "data" top: "c" '
    conv += "convolution_param { num_output: 4 kernel_size: 3 } }"
    spec = parse_net(text + conv)
    assert spec.param_shapes["c"] == ((4, 3, 3, 3), (4,))
    assert spec.with_inputs({"data": (1, 3, 20, 30)}).blobs["c"] == (1, 4, 18, 28)
    unknown = parse_net(text.replace("VOCSegDataLayer", "Mine") + conv)
    assert unknown.blobs == {}
    assert unknown.with_inputs({"data": (1, 1, 20, 30)}).param_shapes["c"][0] == (4, 1, 3, 3)


def test_with_bottoms_the_error_says_how_to_register_one():
    message = refusal(HEAD + python('module: "pyloss" layer: "EuclideanLossLayer"'))
    assert "n.prototxt:2: layer 'py' (Python): class EuclideanLossLayer of module pyloss is Python code" in message
    assert "@prototxt_import.layer_type('EuclideanLossLayer')" in message
    assert "@deeplab_repro.layers.module('EuclideanLossLayer')" in message


def test_a_registered_class_takes_its_options_from_the_string():
    @layer_type("ShiftOfTheTests")
    @dataclass(frozen=True)
    class ShiftOptions(PythonLayerOptions):
        python_module = "shifts"
        by: int
        scale: float = 2.0

    spec = parse_net(HEAD + python("""module: "shifts" layer: "ShiftOfTheTests" param_str: "{'by': '3'}" """))
    assert spec.layers[0].options == ShiftOptions(3, 2.0)
    assert parse_net(net_text(spec, "bvlc"), dialect="bvlc") == spec
    message = refusal(HEAD + python('module: "shifts" layer: "ShiftOfTheTests"'))
    assert "layer 'py' (ShiftOfTheTests): by is missing in param_str" in message


def test_a_class_with_the_name_of_a_caffe_type_is_not_that_type():
    assert "class Softmax of module mine is Python code" in refusal(HEAD + python('module: "mine" layer: "Softmax"'))
