"""From file to NetSpec: dialects, states, wiring, parameters, and what is refused."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest

from prototxt_import import CaffeFormatError, Filler, ParamSpec, layer, make_net, parse_net, read_net

HEAD = 'input: "x" input_shape { dim: 1 dim: 3 dim: 9 dim: 11 }\n'


def conv(name, bottom, more="", fields="num_output: 4 kernel_size: 3"):
    return (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" {more} '
        f"convolution_param {{ {fields} }} }}\n"
    )


def refusal(text, **state):
    with pytest.raises(CaffeFormatError) as caught:
        parse_net(text, "n.prototxt", **state)
    assert "\n" not in str(caught.value)
    return str(caught.value)


NETS = {
    "v1_largefov_oldformat": "v1",
    "v1_msc_largefov_released": "v1",
    "v1_noup_test": "v1",
    "v1_noup_train": "v1",
    "v2_aspp_l": "v2",
    "v2_largefov": "v2",
    "v2_msc_largefov_released_train": "v2",
    "v2_res_msc_train": "v2",
}


@pytest.mark.parametrize("name", NETS)
def test_published_nets_read_with_their_weights(golden, name):
    phase = "TRAIN" if name.endswith("train") else "TEST"
    spec = read_net(golden / name / "net.prototxt", golden / name / "weights.caffemodel", phase=phase)
    assert spec.dialect == NETS[name]
    assert spec.missing_weights == spec.unused_weights == ()
    assert set(spec.weights) == set(spec.param_shapes)
    for layer_name, blobs in spec.weights.items():
        assert [one.shape for one in blobs] == list(spec.param_shapes[layer_name])
        assert not any(one.flags.writeable or one.flags.owndata for one in blobs)


@pytest.mark.parametrize("name", [name for name in NETS if name.endswith("train") or "msc" not in name])
def test_inferred_shapes_are_those_caffe_recorded(golden, name):
    phase = "TRAIN" if name.endswith("train") else "TEST"
    spec = read_net(golden / name / "net.prototxt", phase=phase)
    for file in sorted((golden / name).glob("*.npz")):
        with np.load(file) as recorded:
            inputs = {key[3:]: recorded[key].shape for key in recorded.files if key.startswith("in/")}
            sized = spec.with_inputs(inputs)
            for key in recorded.files:
                if key.startswith("out/") and "_split_" not in key:
                    # The v1 fork pads every shape to four axes.
                    assert np.prod(sized.blobs[key[4:]]) == recorded[key].size, key
                    assert sized.blobs[key[4:]] in (recorded[key].shape, ())


def test_every_recorded_prototxt_is_read(shared_caffe):
    for path in sorted(shared_caffe.glob("**/net.prototxt")):
        weights = path.parent / "weights.caffemodel"
        read_net(path, weights if weights.exists() else None)


UPGRADES = [
    ("v0_binary", "v0", "upgraded_v1"),
    ("v0_binary", "v0", "upgraded_v2"),
    ("v0_text", "v0", "upgraded_v1"),
    ("v0_text", "v0", "upgraded_v2"),
    ("v1_binary", "v1", "upgraded_v2"),
    ("v1_to_v2", "old", "upgraded"),
    ("x2_input_bn", "old", "upgraded"),
]


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
@pytest.mark.parametrize(("case", "old", "new"), UPGRADES)
def test_old_formats_equal_caffes_own_upgrade(shared_caffe, case, old, new, phase):
    folder = shared_caffe / "upgrade" / case
    before, after = (read_net(folder / f"{one}.prototxt", phase=phase) for one in (old, new))
    assert before.layers == after.layers
    assert before.inputs == after.inputs
    assert before == after


def test_state_rules_keep_the_layers_caffe_keeps(shared_caffe):
    folder = shared_caffe / "upgrade" / "net_state_rules"
    for state in json.loads((folder / "states.json").read_text())["states"]:
        spec = read_net(folder / "net.prototxt", phase=state["phase"], level=state["level"], stages=state["stage"])
        assert [one.name for one in spec.layers] == state["layers"]


def test_include_together_with_exclude_is_refused():
    both = "include { phase: TEST } exclude { phase: TRAIN }"
    assert "layer 'c' (Convolution): has both include and exclude" in refusal(HEAD + conv("c", "x", both))


def test_v1_hole_is_read_as_dilation_and_0_as_1():
    def dilation(fields):
        return (
            parse_net(HEAD + conv("c", "x", fields=f"num_output: 1 kernel_size: 2 {fields}")).layers[0].options.dilation
        )

    assert dilation("hole: 2") == dilation("dilation: 2") == dilation("hole_h: 2 hole_w: 2") == (2, 2)
    assert dilation("hole_h: 3 hole_w: 2") == dilation("dilation: 3 dilation: 2") == (3, 2)
    assert dilation("hole: 0") == dilation("dilation: 0") == (1, 1)


def test_hole_is_accepted_in_second_format_text_and_conflicts_are_refused():
    assert parse_net(HEAD + conv("c", "x", fields="num_output: 1 kernel_size: 2 hole: 4")).dialect == "v2"
    assert "disagree" in refusal(HEAD + conv("c", "x", fields="num_output: 1 kernel_size: 2 hole: 4 dilation: 2"))


def test_layers_compare_equal_whatever_their_line_or_dialect():
    old = (
        'layers { name: "c" type: CONVOLUTION bottom: "x" top: "c" convolution_param { num_output: 4 kernel_size: 3 } }'
    )
    assert parse_net(HEAD + "\n\n" + conv("c", "x")).layers == parse_net(HEAD + old).layers


def test_v1_types_may_be_numbers():
    spec = parse_net(HEAD + 'layers { type: 18 name: "r" bottom: "x" top: "y" }')
    assert spec.layers[0].type == "ReLU"


def test_input_layers_and_legacy_fields_are_the_same():
    new = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 dim: 9 dim: 11 } } }\n'
    legacy = 'input: "x" input_dim: 1 input_dim: 3 input_dim: 9 input_dim: 11\n'
    assert parse_net(new + conv("c", "x")) == parse_net(HEAD + conv("c", "x")) == parse_net(legacy + conv("c", "x"))
    assert dict(parse_net(new + conv("c", "x")).inputs) == {"x": (1, 3, 9, 11)}


def test_wiring_faults_name_blob_layer_and_line():
    message = refusal(HEAD + conv("c1", "x") + conv("c2", "nowhere"))
    assert message.startswith("n.prototxt:3: layer 'c2' (Convolution): bottom 'nowhere' is produced by no layer")
    assert "produced only later, by layer 'c2'" in refusal(HEAD + conv("c1", "c2") + conv("c2", "x"))
    twice = 'layer { name: "r" type: "ReLU" bottom: "x" top: "c1" }'
    assert "top 'c1' exists already" in refusal(HEAD + conv("c1", "x") + twice)


def test_names_may_repeat_or_be_absent():
    text = HEAD + 'layer { type: "ReLU" bottom: "x" top: "a" } layer { name: "r" type: "ReLU" bottom: "a" top: "b" }'
    text += 'layer { type: "ReLU" bottom: "b" top: "c" } layer { name: "r" type: "ReLU" bottom: "c" top: "d" }'
    text += 'layer { name: "r#2" type: "ReLU" bottom: "d" top: "e" }'
    spec = parse_net(text, "n.prototxt")
    assert [layer.name for layer in spec.layers] == ["", "r", "#2", "r#3", "r#2"]
    assert spec.with_inputs({"x": (1, 3, 5, 5)}).layers == spec.layers


def test_in_place_chains_keep_one_blob():
    chain = conv("c", "x") + 'layer { name: "r" type: "ReLU" bottom: "c" top: "c" }'
    spec = parse_net(HEAD + chain)
    assert spec.outputs == ("c",)
    assert set(spec.blobs) == {"x", "c"}


def test_sizes_that_do_not_fit_are_refused():
    assert "too small" in refusal(HEAD + conv("c", "x", fields="num_output: 1 kernel_size: 10"))
    assert "more than 2147483647 elements" in refusal(HEAD.replace("11", "2000000000") + conv("c", "x"))
    assert "negative side" in refusal(HEAD.replace("dim: 9", "dim: -9") + conv("c", "x"))
    assert "multiple of group" in refusal(HEAD + conv("c", "x", fields="num_output: 4 group: 2 kernel_size: 1"))


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


def test_sharers_must_agree():
    owner = conv("a", "x", 'param { name: "w" lr_mult: 3 }')
    assert "lr_mult 2.0 differs from 3.0" in refusal(HEAD + owner + conv("b", "x", 'param { name: "w" lr_mult: 2 }'))
    wider = conv("b", "x", 'param { name: "w" }', "num_output: 4 kernel_size: 1")
    assert "shape [4, 3, 1, 1] differs from [4, 3, 3, 3] of layer 'a'" in refusal(HEAD + owner + wider)
    turned = conv("b", "x", 'param { name: "w" share_mode: PERMISSIVE }', "num_output: 12 kernel_h: 1 kernel_w: 3")
    parse_net(HEAD + owner + turned)


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


@pytest.mark.parametrize(
    ("fields", "normalization", "ignored"),
    [
        ("", "VALID", ()),
        ("loss_param { ignore_label: 255 }", "VALID", (255,)),
        ("loss_param { normalize: false }", "BATCH_SIZE", ()),
        ("loss_param { normalize: true normalization: FULL }", "FULL", ()),
        ("softmaxloss_param { ignore_label: 255 ignore_label: 0 }", "WEIGHTED", (255, 0)),
    ],
)
def test_softmax_loss_normalisation_is_resolved(fields, normalization, ignored):
    text = HEAD + 'input: "y" input_shape { dim: 1 dim: 1 dim: 9 dim: 11 }\n'
    text += f'layer {{ name: "l" type: "SoftmaxWithLoss" bottom: "x" bottom: "y" {fields} }}'
    options = parse_net(text).layers[0].options
    assert (options.normalization, options.ignore_labels) == (normalization, ignored)


def test_weights_that_do_not_fit_name_layer_and_file(golden, tmp_path):
    folder = golden / "v2_largefov"
    path = tmp_path / "net.prototxt"
    path.write_text((folder / "net.prototxt").read_text().replace("num_output: 21", "num_output: 22"))
    with pytest.raises(CaffeFormatError, match=r"layer 'fc8_voc12' .*\[22, 64, 1, 1\].*weights\.caffemodel"):
        read_net(path, folder / "weights.caffemodel")
    text = (folder / "net.prototxt").read_text()
    path.write_text(text.replace("num_output: 21", "num_output: 21 bias_term: false"))
    with pytest.raises(CaffeFormatError, match=r"param entries|has 1 blobs"):
        read_net(path, folder / "weights.caffemodel")


def test_layers_without_partner_are_listed(golden, tmp_path):
    folder = golden / "v2_largefov"
    path = tmp_path / "net.prototxt"
    path.write_text((folder / "net.prototxt").read_text().replace('name: "fc6"', 'name: "other"'))
    spec = read_net(path, folder / "weights.caffemodel")
    assert (spec.missing_weights, spec.unused_weights) == (("other",), ("fc6",))


def test_with_inputs_infers_anew_and_knows_its_inputs(golden):
    spec = read_net(golden / "v2_largefov" / "net.prototxt")
    assert spec.with_inputs({"data": (2, 3, 321, 321)}).blobs["fc8_interp"] == (2, 21, 321, 321)
    with pytest.raises(CaffeFormatError, match="no input 'dta'; did you mean 'data'"):
        spec.with_inputs({"dta": (1, 3, 65, 65)})


def test_specs_copy_and_pickle(golden):
    folder = golden / "v2_largefov"
    spec = read_net(folder / "net.prototxt", folder / "weights.caffemodel")
    assert copy.deepcopy(spec) is spec
    again = pickle.loads(pickle.dumps(spec))
    assert again == spec
    np.testing.assert_array_equal(again.weights["fc6"][0], spec.weights["fc6"][0])


def test_sizes_of_data_layers_wait_for_the_data():
    text = 'layer { name: "d" type: "HDF5Data" top: "x" top: "y" hdf5_data_param { source: "l.txt" batch_size: 2 } }\n'
    spec = parse_net(text + conv("c", "x", "param { lr_mult: 2 }"))
    assert dict(spec.blobs) == {}
    assert spec.layers[1].params[0].lr_mult == 2
    sized = spec.with_inputs({"x": (2, 3, 9, 9), "y": (2,)})
    assert sized.blobs["c"] == (2, 4, 7, 7)
    assert sized.param_shapes["c"] == ((4, 3, 3, 3), (4,))
    assert sized.with_inputs({"x": (1, 3, 5, 5)}).blobs["y"] == (2,)


def test_deprecated_data_fields_become_transform_facts():
    text = 'layers { name: "d" type: DATA top: "x" data_param { source: "db" batch_size: 4 scale: 0.5 mirror: true } }'
    options = parse_net(text).layers[0].options
    assert (options.transform.scale, options.transform.mirror, options.batch_size) == (0.5, True, 4)


def test_a_net_built_in_code_equals_the_one_read():
    text = HEAD + conv("c", "x", fields="num_output: 4 kernel_size: 3 weight_filler { type: 'gaussian' std: 0.01 }")
    text += 'layer { name: "e" type: "Eltwise" bottom: "c" bottom: "c" top: "e" }'
    built = make_net(
        "",
        {"x": (1, 3, 9, 11)},
        [
            layer("Convolution", "c", "x", "c", num_output=4, kernel=3, weight_filler=Filler("gaussian", std=0.01)),
            layer("Eltwise", "e", ["c", "c"], "e"),
        ],
    )
    assert built == parse_net(text)


@pytest.mark.parametrize(
    ("type_name", "options", "word"),
    [
        ("Konvolution", {}, "unknown layer type"),
        ("Convolution", {"kernal": 3}, "no option 'kernal'; did you mean 'kernel'"),
        ("Convolution", {"kernel": 3}, "needs the option 'num_output'"),
        ("Dropout", {"ratio": 2.0}, r"must be in \[0, 1\)"),
    ],
)
def test_layers_built_wrongly_in_code_are_refused(type_name, options, word):
    with pytest.raises(CaffeFormatError, match=word):
        layer(type_name, "l", "x", "y", **options)
