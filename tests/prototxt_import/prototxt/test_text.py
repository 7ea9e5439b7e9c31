"""Template variables, and what a reader of a faulty prototxt is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prototxt_import import CaffeFormatError, parse_net, read_net, read_solver, read_weights

CONV = """name: "n"
input: "data"
input_dim: 1 input_dim: 3 input_dim: 9 input_dim: 9
layer {
  name: "c1"  type: "Convolution"
  bottom: "data"  top: "c1"
  convolution_param { num_output: 4 kernel_size: 3 }
}
layer { name: "r1" type: "ReLU" bottom: "c1" top: "c1" }
"""


def refusal(text, **state):
    with pytest.raises(CaffeFormatError) as caught:
        parse_net(text, "n.prototxt", **state)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_misspelt_field_is_named_with_line_layer_message_and_suggestion():
    message = refusal(CONV.replace("kernel_size", "kernal_size"))
    assert message.startswith("n.prototxt:7: layer 'c1'")
    assert "'kernal_size' in convolution_param" in message
    assert "did you mean 'kernel_size'" in message


def test_misspelt_enum_value_is_named_with_suggestion():
    pool = 'layer { name: "p" type: "Pooling" bottom: "c1" top: "p" pooling_param { pool: MAXX kernel_size: 2 } }'
    assert "MAXX" in refusal(CONV + pool)
    assert "'MAX'" in refusal(CONV + pool)


def test_all_unknown_types_come_in_one_message():
    message = refusal(CONV.replace("Convolution", "Konvolution").replace("ReLU", "Relux"))
    assert "Konvolution (layer 'c1'; did you mean 'Convolution')" in message
    assert "Relux (layer 'r1'; did you mean 'ReLU')" in message


def test_all_unknown_v1_types_come_in_one_message():
    text = (
        'layers { name: "a" type: KONVOLUTION }\nlayers { name: "b" type: POOLING }\nlayers { name: "c" type: PADING }'
    )
    message = refusal(text)
    assert message.startswith("n.prototxt:1:")
    assert "KONVOLUTION (layer 'a'; did you mean 'CONVOLUTION')" in message
    assert "PADING (layer 'c'; did you mean 'PADDING')" in message


def test_unclosed_brace_is_told_with_the_line_that_opens_it():
    assert refusal(CONV + 'layer { name: "a" ').startswith("n.prototxt:10: the layer that begins here is never closed")


def test_surplus_brace_is_told():
    assert "closes nothing" in refusal(CONV + "}")


def test_nesting_is_bounded():
    assert "nest deeper" in refusal("layer { " + "a { " * 5000)


def test_braces_in_strings_and_comments_do_not_count():
    spec = parse_net(CONV.replace('"n"', '"n{"') + "# } not a brace {\n")
    assert spec.name == "n{"


@pytest.mark.parametrize("name", ['"C:\\data"', '"a\\.b"'])
def test_unknown_escapes_are_told(name):
    assert "n.prototxt:1: unknown escape" in refusal(CONV.replace('"n"', name))


def test_known_escapes_are_read():
    assert parse_net(CONV.replace('"n"', r'"a\\b\"c\x41"')).name == 'a\\b"cA'


def test_layers_know_their_lines():
    assert [layer.line for layer in parse_net(CONV).layers] == [4, 9]


def test_layers_in_brackets_are_read():
    text = 'input: "x" input_dim: [1, 1, 2, 2] layer [{ name: "a" type: "ReLU" bottom: "x" top: "y" }]'
    assert [layer.name for layer in parse_net(text).layers] == ["a"]


def test_variables_are_replaced_in_strings_and_numbers(tmp_path):
    path = tmp_path / "t.prototxt"
    path.write_text(CONV.replace("num_output: 4", "num_output: ${COUNT}").replace('"n"', '"${ID}_net"'))
    spec = read_net(path, variables={"COUNT": "7", "ID": "x"})
    assert spec.layers[0].options.num_output == 7
    assert spec.name == "x_net"
    assert spec.variables == {"COUNT": "7", "ID": "x"}


def test_all_variables_without_value_come_in_one_message(tmp_path):
    path = tmp_path / "t.prototxt"
    path.write_text("# ${COMMENT} is no variable\n" + CONV.replace('"n"', '"${EXP}"').replace("4", "${COUNT}", 1))
    with pytest.raises(CaffeFormatError, match=r"t\.prototxt:2: no value for EXP, COUNT; .*--var EXP=.*--var COUNT="):
        read_net(path)


@pytest.mark.parametrize(
    ("content", "word"),
    [(b"\xff\xfe\x00\x01", "not text"), (b"", "holds no layers"), (b"\x00" * 9, "t.prototxt")],
)
def test_files_that_are_no_prototxt_are_refused_by_name(tmp_path, content, word):
    path = tmp_path / "t.prototxt"
    path.write_bytes(content)
    with pytest.raises(CaffeFormatError, match=word) as caught:
        read_net(path)
    assert str(path) in str(caught.value)


def test_missing_file_and_folder_are_refused_by_name(tmp_path):
    with pytest.raises(CaffeFormatError, match=r"nothing\.prototxt: cannot be read"):
        read_net(tmp_path / "nothing.prototxt")
    with pytest.raises(CaffeFormatError, match="cannot be read"):
        read_net(tmp_path)


@given(st.text(alphabet='layer {}:"\\#$<>[]0123456789.-\n' + "nametyp", max_size=60), st.integers(0, len(CONV)))
def test_arbitrary_damage_only_raises_format_errors(junk, at):
    message = ""
    try:
        parse_net(CONV[:at] + junk + CONV[at:])
    except CaffeFormatError as error:
        message = str(error)
    assert "\n" not in message


@given(st.data())
def test_missing_pieces_only_raise_format_errors(data):
    start = data.draw(st.integers(0, len(CONV)))
    stop = data.draw(st.integers(start, len(CONV)))
    message = ""
    try:
        parse_net(CONV[:start] + CONV[stop:])
    except CaffeFormatError as error:
        message = str(error)
    assert "\n" not in message


INPUT = 'input: "x" input_shape { dim: 1 dim: 3 dim: 9 dim: 9 }\n'


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ('layers { name: "r" type: "ReLU" bottom: "x" top: "y" }', 'type: "ReLU" stands in a `layers` block; call'),
        ('layer { name: "r" type: RELU bottom: "x" top: "y" }', "type: RELU stands in a `layer` block; call the block"),
    ],
)
def test_a_type_in_the_other_formats_spelling_is_told(block, told):
    message = refusal(INPUT + block)
    assert message.startswith("n.prototxt:2: layer 'r': ")
    assert told in message


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("DepthwiseConvolution", "it is Convolution with `group` equal to its channels"),
        ("ReLU6", "it is Clip with clip_param { min: 0 max: 6 }"),
        ("PriorBox", "SSD's boxes are not for this program: end the net before them"),
        ("LSTM", "recurrent layers do not run here"),
    ],
)
def test_types_of_well_known_forks_are_told_with_what_to_do(kind, told):
    message = refusal(INPUT + f'layer {{ name: "r" type: "{kind}" bottom: "x" top: "y" }}')
    assert f"unknown layer type: {kind} (layer 'r'; {told}" in message


def test_an_input_without_shape_is_told_where_it_is_read():
    message = refusal('input: "x"\nlayer { name: "r" type: "ReLU" bottom: "x" top: "y" }')
    assert "layer 'r' (ReLU): bottom 'x' is an input without a shape; give input_shape" in message


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\n<!DOCTYPE html>\n<html lang=en>", "is a web page and not the file; download the file itself"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n", "is a Git LFS pointer"),
        ((INPUT + "layer { }").encode("utf-16"), "is text in UTF-16"),
    ],
)
@pytest.mark.parametrize("read", [read_net, read_weights])
def test_what_people_download_in_place_of_a_file_is_told(tmp_path, read, content, told):
    file = tmp_path / "n.prototxt"
    file.write_bytes(content)
    with pytest.raises(CaffeFormatError, match=told):
        read(file)


def test_a_solver_for_a_net_and_a_net_for_a_solver_are_told(tmp_path):
    assert refusal('net: "n.prototxt"').endswith("unknown field 'net' in the net; this is a solver and no net")
    file = tmp_path / "s.prototxt"
    file.write_text(CONV)
    with pytest.raises(CaffeFormatError, match="unknown field 'name' in the solver; this is a net and no solver"):
        read_solver(file)


def test_a_net_for_a_model_is_told(tmp_path):
    file = tmp_path / "w.caffemodel"
    file.write_text("# VGG\n" + CONV)
    with pytest.raises(CaffeFormatError, match=r"w\.caffemodel: is a prototxt and no Caffe model"):
        read_weights(file)
