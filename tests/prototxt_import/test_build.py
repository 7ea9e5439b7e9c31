"""Nets and layers built in code."""

from __future__ import annotations

import pytest

from prototxt_import import CaffeFormatError, Filler, layer, make_net, parse_net
from tests.prototxt_import.texts import HEAD, conv


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
