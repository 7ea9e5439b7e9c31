"""Template variables, and what a reader of a faulty prototxt is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prototxt_import import CaffeFormatError, parse_net, read_net

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
