"""From text to NetSpec: dialects, states, inputs, parameters."""

from __future__ import annotations

import json

from prototxt_import import ParamSpec, net_text, parse_net, read_net
from tests.prototxt_import.texts import HEAD, conv, refusal


def test_state_rules_keep_the_layers_caffe_keeps(shared_caffe):
    folder = shared_caffe / "upgrade" / "net_state_rules"
    for state in json.loads((folder / "states.json").read_text())["states"]:
        spec = read_net(folder / "net.prototxt", phase=state["phase"], level=state["level"], stages=state["stage"])
        assert [layer.name for layer in spec.layers] == state["layers"]


def test_include_together_with_exclude_is_refused():
    both = "include { phase: TEST } exclude { phase: TRAIN }"
    assert "layer 'c' (Convolution): has both include and exclude" in refusal(HEAD + conv("c", "x", both))


def test_input_layers_and_legacy_fields_are_the_same():
    new = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 dim: 9 dim: 11 } } }\n'
    legacy = 'input: "x" input_dim: 1 input_dim: 3 input_dim: 9 input_dim: 11\n'
    assert parse_net(new + conv("c", "x")) == parse_net(HEAD + conv("c", "x")) == parse_net(legacy + conv("c", "x"))
    assert dict(parse_net(new + conv("c", "x")).inputs) == {"x": (1, 3, 9, 11)}


def test_each_blob_has_its_resolved_training_facts():
    spec = parse_net(HEAD + conv("c", "x", "param { lr_mult: 10 } param { decay_mult: 0 }") + conv("d", "x"))
    assert spec.layers[0].params == (ParamSpec(lr_mult=10.0), ParamSpec(decay_mult=0.0))
    assert spec.layers[1].params == (ParamSpec(), ParamSpec())
    assert "3 param entries for 2" in refusal(HEAD + conv("c", "x", "param {} " * 3))


def test_sharers_inherit_what_they_do_not_say():
    owner = conv("a", "x", 'param { name: "w" lr_mult: 3 } param { name: "b" }')
    sharer = conv("b", "x", 'param { name: "w" } param { name: "b" decay_mult: 0 }')
    spec = parse_net(HEAD + owner + sharer)
    assert spec.layers[0].params == spec.layers[1].params
    assert spec.layers[0].params[0] == ParamSpec("w", 3.0)
    assert spec.layers[0].params[1] == ParamSpec("b", 1.0, 0.0)


def test_batch_norm_takes_its_statistics_by_phase_and_is_not_trained():
    text = HEAD + 'layer { name: "b" type: "BatchNorm" bottom: "x" top: "y" }'
    (train,), (test,) = (parse_net(text, phase=phase).layers for phase in ("TRAIN", "TEST"))
    assert (train.options.use_global_stats, test.options.use_global_stats) == (False, True)
    assert train.params == (ParamSpec(lr_mult=0.0),) * 3
    assert parse_net(text).param_shapes["b"] == ((3,), (3,), (1,))


def test_loss_weights_count_the_first_top_even_without_a_name():
    loss = 'layer { name: "l" type: "SoftmaxWithLoss" bottom: "x" bottom: "y" %s }'
    labels = HEAD + 'input: "y" input_shape { dim: 1 dim: 1 dim: 9 dim: 11 }\n'
    assert parse_net(labels + loss % "").layers[0].loss_weights == (1.0,)
    assert parse_net(labels + loss % 'top: "l"').layers[0].loss_weights == (1.0,)
    assert parse_net(labels + loss % 'top: "l" top: "p"').layers[0].loss_weights == (1.0, 0.0)
    assert parse_net(labels + loss % "loss_weight: 0.5").layers[0].loss_weights == (0.5,)
    assert "2 loss_weight for 1 tops" in refusal(labels + loss % 'top: "l" loss_weight: 1 loss_weight: 1')


def test_names_may_repeat_or_be_absent():
    text = HEAD + 'layer { type: "ReLU" bottom: "x" top: "a" } layer { name: "r" type: "ReLU" bottom: "a" top: "b" }'
    text += 'layer { type: "ReLU" bottom: "b" top: "c" } layer { name: "r" type: "ReLU" bottom: "c" top: "d" }'
    text += 'layer { name: "r#2" type: "ReLU" bottom: "d" top: "e" }'
    spec = parse_net(text, "n.prototxt")
    assert [layer.name for layer in spec.layers] == ["", "r", "#2", "r#3", "r#2"]
    assert spec.with_inputs({"x": (1, 3, 5, 5)}).layers == spec.layers


def test_what_an_input_layer_says_of_its_images_is_kept_and_written_back():
    """Caffe's Input passes over transform_param; it tells whoever feeds the net."""
    text = (
        'layer { name: "image" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 dim: 4 dim: 5 } } '
        "transform_param { mean_value: 1 mean_value: 2 mean_value: 3 scale: 0.5 } } "
        'layer { name: "r" type: "ReLU" bottom: "x" top: "y" }'
    )
    spec = parse_net(text)
    assert spec.input_transform.mean_value == (1, 2, 3)
    assert spec.input_transform.scale == 0.5
    for dialect in ("bvlc", "text"):
        again = parse_net(net_text(spec, dialect))
        assert again == spec
        assert again.input_transform == spec.input_transform
    # The older forks have no such layer; what the net computes is the same.
    assert parse_net(net_text(spec, "v1")).inputs == spec.inputs
