"""The mean field's options, and Crop that finds its offset: what the forks take and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from prototxt_import import CaffeFormatError, net_text, parse_net, schema, write_weights
from prototxt_import.binary.model_writer import encode_blob
from prototxt_import.binary.weights import read_model
from prototxt_import.binary.wire import encode_bytes

DATA = 'input: "data" input_dim: 1 input_dim: 3 input_dim: 16 input_dim: 20\n'


def refusal(text: str, **state) -> str:
    with pytest.raises(CaffeFormatError) as caught:
        parse_net(text, "n.prototxt", **state)
    return str(caught.value)


def conv(name: str, bottom: str, kind: str = "Convolution", **fields: int) -> str:
    told = " ".join(f"{key}: {value}" for key, value in {"num_output": 2, "kernel_size": 3, **fields}.items())
    return (
        f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{name}" convolution_param {{ {told} }} }}\n'
    )


def pool(name: str, bottom: str, kernel: int = 2) -> str:
    return (
        f'layer {{ name: "{name}" type: "Pooling" bottom: "{bottom}" top: "{name}" '
        f"pooling_param {{ kernel_size: {kernel} stride: 2 }} }}\n"
    )


def crop(first: str, second: str, name: str = "crop") -> str:
    return f"layer {{ type: 'Crop' name: '{name}' bottom: '{first}' bottom: '{second}' top: 'cut' }}\n"


def offset(text: str, **state) -> tuple[int, ...]:
    return parse_net(DATA + text, **state).layers[-1].options.offset


def test_offset_of_padding_and_of_an_upsampled_pool():
    assert offset(conv("c", "data", pad=35) + crop("c", "data")) == (34, 34)
    up = conv("c", "data", pad=3) + pool("p", "c") + conv("d", "p", "Deconvolution", kernel_size=4, stride=2)
    assert offset(up + crop("d", "data")) == (3, 3)


def test_height_and_width_have_offsets_of_their_own():
    assert offset(conv("c", "data", pad_h=4, pad_w=2) + crop("c", "data")) == (3, 1)


def test_layers_in_place_and_an_earlier_crop_lie_on_the_way():
    text = conv("c", "data", pad=5) + 'layer { name: "r" type: "ReLU" bottom: "c" top: "c" }\n' + crop("c", "data")
    spec = parse_net(DATA + text + crop("cut", "data").replace("top: 'cut'", "top: 'again'"))
    assert [layer.options.offset for layer in spec.layers if layer.type == "Crop"] == [(4, 4), (0, 0)]
    assert [layer.name for layer in spec.layers][-2:] == ["crop", "crop#2"]


def test_the_first_bottom_of_a_layer_and_the_first_layer_of_a_blob_are_followed():
    join = 'layer { name: "j" type: "Concat" bottom: "%s" bottom: "%s" top: "j" }\n'
    wide, wider = conv("c", "data", pad=3, num_output=2), conv("d", "data", pad=3, num_output=2)
    shrunk = wider + crop("d", "c", "cut").replace("top: 'cut'", "top: 'e'")
    assert offset(wide + shrunk + join % ("c", "e") + crop("j", "data")) == (2, 2)
    # A pooling keeps to (k - 1) / 2 - pad, though its output is rounded up.
    up = pool("p", "data", 3) + conv("d", "p", "Deconvolution", kernel_size=7, stride=2, pad=0)
    assert offset(up + crop("d", "data")) == (2, 2)


def test_what_does_not_belong_together_is_refused():
    two = 'input: "other" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8\n'
    message = refusal(DATA + two + conv("c", "data", pad=3) + crop("c", "other"))
    assert message.startswith("n.prototxt:4: layer 'crop' (Crop): bottoms 'c' and 'other' come from no common blob")
    assert "has 0.5 pixels for one of 'data'" in refusal(DATA + pool("p", "data") + crop("p", "data"))
    assert "begins 1 pixels before 'c'" in refusal(DATA + conv("c", "data") + crop("c", "data"))
    assert "no whole number" in refusal(DATA + conv("c", "data", kernel_size=4, pad=3) + crop("c", "data"))


def test_a_crop_that_reaches_beyond_its_bottom_is_refused():
    text = conv("c", "data", stride=2) + conv("d", "c", "Deconvolution", stride=2)
    message = refusal(DATA + text + crop("d", "data"))
    assert "layer 'crop' (Crop): axis 2: offset 0 and size 16 exceed 15" in message


def test_layers_in_a_circle_end_the_search():
    text = conv("a", "b") + conv("b", "a") + crop("a", "data")
    assert "come from no common blob" in refusal(DATA + text)
    lone = "layer { type: 'Crop' name: 'crop' bottom: 'data' top: 'cut' }"
    assert "layer 'crop' (Crop): has 1 bottoms; it takes 2" in refusal(DATA + lone)


def test_an_unknown_layer_on_the_way_is_named():
    text = conv("c", "data", pad=3) + 'layer { name: "f" type: "InnerProduct" bottom: "c" top: "f" '
    text += "inner_product_param { num_output: 3 } }\n"
    assert "layer 'f' (InnerProduct) lies on the way" in refusal(DATA + text + crop("f", "data"))


def test_dialect_decides_and_auto_says_what_it_took():
    text = DATA + conv("c", "data", pad=3) + crop("c", "data")
    spec = parse_net(text)
    assert spec.dialect == "crfrnn"
    assert "Crop without crop_param" in spec.evidence
    assert len(spec.notes) == 1
    assert "here offset [2, 2]" in spec.notes[0]
    plain = parse_net(text, dialect="bvlc")
    assert plain.layers[-1].options.offset == ()
    assert plain.notes == ()
    late = parse_net(text + 'layer { name: "i" type: "Input" top: "i" input_param { shape { dim: 1 } } }')
    assert late.dialect == "bvlc"
    assert late.layers[-1].options.offset == ()


def test_written_for_another_fork_it_has_its_offset():
    spec = parse_net(DATA + conv("c", "data", pad=3) + crop("c", "data"))
    assert "crop_param { offset: 2 offset: 2 }" in net_text(spec, "bvlc")
    assert "crop_param" not in net_text(spec, "hed")
    assert parse_net(net_text(spec, "bvlc"), dialect="bvlc").layers[-1].options.offset == (2, 2)
    fixed = parse_net(DATA + conv("c", "data", pad=3) + crop("c", "data"), dialect="bvlc")
    with pytest.raises(
        CaffeFormatError, match=r"layer 'crop' \(Crop\): Crop of the hed dialect finds its offset itself"
    ):
        net_text(fixed, "hed")


def mean_field(fields: str, labels: int = 3) -> str:
    inputs = "".join(
        f'input: "{name}" input_dim: 2 input_dim: {channels} input_dim: 5 input_dim: 6\n'
        for name, channels in (("u", labels), ("q", labels), ("i", 3))
    )
    layer = 'layer { name: "inference1" type: "MultiStageMeanfield" bottom: "u" bottom: "q" bottom: "i" top: "y" '
    return f"{inputs}{layer} multi_stage_meanfield_param {{ {fields} }} }}"


THETAS = "theta_alpha: 160 theta_beta: 3 theta_gamma: 3"


def test_mean_field_is_read_and_written():
    spec = parse_net(mean_field(f"{THETAS} num_iterations: 10"))
    assert spec.param_shapes["inference1"] == ((1, 1, 3, 3),) * 3
    assert spec.dialect == "crfrnn"
    for dialect in ("crfrnn", "text"):
        assert parse_net(net_text(spec, dialect)) == spec


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        (THETAS, "num_iterations is missing in multi_stage_meanfield_param"),
        ("theta_alpha: 1 theta_beta: 1 num_iterations: 2", "theta_gamma is missing"),
        (f"{THETAS} num_iterations: 1", "num_iterations is 1"),
        ("theta_alpha: 0 theta_beta: 1 theta_gamma: 1 num_iterations: 2", "theta_alpha is 0"),
        (f'{THETAS} num_iterations: 2 spatial_filter_weights_str: ""', "spatial_filter_weights_str is ''"),
        (f'{THETAS} num_iterations: 2 spatial_filter_weights_str: "1 2"', "has 2 numbers for 3 labels"),
        (f'{THETAS} num_iterations: 2 bilateral_filter_weights_str: "1  2 3"', "bilateral_filter_weights_str is"),
    ],
)
def test_mean_field_refusals_name_layer_type_and_field(fields, fault):
    message = refusal(mean_field(fields))
    assert "layer 'inference1' (MultiStageMeanfield): " in message
    assert fault in message


def test_numbers_beyond_the_labels_are_ignored():
    spec = parse_net(mean_field(f'{THETAS} num_iterations: 2 spatial_filter_weights_str: "3 1 2 9 x"'))
    assert spec.layers[0].options.diagonals(3) == ((3.0, 1.0, 2.0), None)


def test_model_files_tell_their_fork(tmp_path):
    for number, shapes, spoken in ((42, [(1, 1, 3, 3)] * 3, "crfrnn"), (43, [(1, 4, 1, 1)] * 2, "segnet")):
        kind = schema.message("v1", "V1LayerParameter")
        blobs = [b"".join(encode_bytes(6, *encode_blob(np.zeros(shape, np.float32), "v1"))) for shape in shapes]
        layer = kind(name="it", type=number).SerializeToString() + b"".join(blobs)
        (tmp_path / "m.caffemodel").write_bytes(b"".join(encode_bytes(2, layer)))
        assert read_model(tmp_path / "m.caffemodel").dialect == spoken
    spec = parse_net(mean_field(f"{THETAS} num_iterations: 2"))
    arrays = {"inference1": [np.zeros((1, 1, 3, 3), np.float32)] * 3}
    write_weights(arrays, spec, tmp_path / "m.caffemodel", "crfrnn")
    assert read_model(tmp_path / "m.caffemodel").dialect == "crfrnn"
