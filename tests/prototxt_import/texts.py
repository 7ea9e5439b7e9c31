"""Small prototxts, and what a reader says of faulty ones."""

from __future__ import annotations

import pytest

from prototxt_import import CaffeFormatError, parse_net

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
