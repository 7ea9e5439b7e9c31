"""Descriptions of layers as values."""

from __future__ import annotations

from prototxt_import import parse_net
from tests.prototxt_import.texts import HEAD, conv


def test_layers_compare_equal_whatever_their_line_or_dialect():
    old = (
        'layers { name: "c" type: CONVOLUTION bottom: "x" top: "c" convolution_param { num_output: 4 kernel_size: 3 } }'
    )
    assert parse_net(HEAD + "\n\n" + conv("c", "x")).layers == parse_net(HEAD + old).layers
