"""Files that are small and ask for much: each is refused with one line, quickly and without memory to speak of."""

from __future__ import annotations

import pytest

from prototxt_import import CaffeFormatError, parse_net, read_net
from tests.prototxt_import.limits import MIB, lean, quick

HEAD = 'input: "x" input_shape { dim: 1 dim: 3 dim: 9 dim: 9 }\n'


def refused(text):
    with quick(), pytest.raises(CaffeFormatError) as caught:
        parse_net(text, "net.prototxt")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 1000
    return str(caught.value)


def conv(fields):
    return f'{HEAD}layer {{ name: "c" type: "Convolution" bottom: "x" top: "y" convolution_param {{ {fields} }} }}'


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ("num_output: 4000000000 kernel_size: 1", "more than 2147483647 elements"),
        ("num_output: 1 kernel_size: 1 pad: 2000000000", "with pad .* more than 2147483647"),
        ("num_output: 1 kernel_size: 2000000000 pad: 1000000000 stride: 1000", "with pad .* more than 2147483647"),
        ("num_output: 1 kernel_size: 4000000000", "too small"),
        ("num_output: 1 kernel_size: 3 dilation: 4000000000", "too small"),
        ("num_output: 99999999999 kernel_size: 3", "num_output|range"),
    ],
)
def test_absurd_windows_are_refused(fields, word):
    import re

    assert re.search(word, refused(conv(fields)))


def test_pooling_over_absurd_padding_is_refused():
    pool = 'layer { name: "p" type: "Pooling" bottom: "x" top: "y" pooling_param { %s } }'
    fields = "kernel_size: 2000000001 pad: 2000000000 stride: 2000000000"
    assert "more than 2147483647" in refused(HEAD + pool % fields)


@pytest.mark.parametrize("count", [33, 50_000])
def test_blobs_of_too_many_axes_are_refused(count):
    dims = "dim: 2147483647 " * count
    assert "axes" in refused(f'input: "x" input_shape {{ {dims} }} layer {{ name: "r" type: "ReLU" bottom: "x" }}')
    reshape = f'layer {{ name: "r" type: "Reshape" bottom: "x" top: "y" reshape_param {{ shape {{ {dims} }} }} }}'
    assert "axes" in refused(HEAD + reshape)


@pytest.mark.parametrize(
    "text",
    [
        'a: "' + '\\"' * 300_000,
        "'" * 600_001,
        '"' + "x" * 600_000,
        "{" * 600_000,
        "a{}" * 100_000,
        "<" * 10 + "9" * 600_000,
        "#" * 600_000,
        "\n" * 600_000,
        "a:" * 300_000,
    ],
    ids=["escapes", "quotes", "string", "braces", "messages", "digits", "comment", "lines", "colons"],
)
def test_text_without_end_is_refused_in_one_pass(text):
    refused(text)


def test_template_variables_without_number_are_told_in_one_pass(tmp_path):
    path = tmp_path / "net.prototxt"
    for text in ("${A}" * 200_000, "".join(f"${{V{i}}}" for i in range(60_000)), '"${A}\\"' * 100_000):
        path.write_text(text)
        with quick(), pytest.raises(CaffeFormatError, match=r"net.prototxt:1: .*V?A?"):
            read_net(path)


def test_many_unknown_types_are_told_in_one_line():
    layers = (f'layer {{ name: "n{i}" type: "Unknown{i}" foo_param {{}} }}\n' for i in range(5_000))
    assert "unknown layer types: Unknown0" in refused(HEAD + "".join(layers))


def test_a_wrong_name_among_many_is_told_quickly():
    layers = (f'layer {{ name: "n{i}" type: "ReLU" bottom: "x" top: "blob{i}" }}\n' for i in range(5_000))
    with quick(800_000_000), pytest.raises(CaffeFormatError, match="'blub7'"):
        parse_net(HEAD + "".join(layers) + 'layer { name: "l" type: "ReLU" bottom: "blub7" top: "z" }')


def test_files_larger_than_any_prototxt_are_not_parsed(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_bytes(b" " * (4 * MIB + 1))
    with quick(40_000_000), lean(20), pytest.raises(CaffeFormatError, match="larger than 4 MiB"):
        read_net(path)
    with pytest.raises(CaffeFormatError, match="larger than 4 MiB"):
        parse_net(" " * (4 * MIB + 1))
