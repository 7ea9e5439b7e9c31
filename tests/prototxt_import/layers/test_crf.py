"""DenseCRF and the layers around it."""

from __future__ import annotations

import pytest

from prototxt_import import net_text, parse_net


@pytest.mark.parametrize(
    ("type_name", "bottoms", "options", "expected"),
    [
        ("DenseCRF", [(1, 5, 4, 4), (1, 1, 1, 2), (1, 3, 4, 4)], {}, (1, 5, 4, 4)),
    ],
)
def test_tops(tops, type_name, bottoms, options, expected):
    assert tops(type_name, *bottoms, **options) == expected


def test_background_of_bias_channel_is_what_the_file_declares():
    text = (
        'input: "x" input_shape { dim: 1 dim: 3 dim: 4 dim: 4 } input: "l" input_shape { dim: 1 dim: 1 dim: 4 dim: 4 }'
    )
    for fields, expected in (("", None), ("bg_bias: 1", 0), ("background_label: 2", 2)):
        spec = parse_net(
            f'{text} layer {{ name: "b" type: "BiasChannel" bottom: "x" bottom: "l" top: "y" '
            f"bias_channel_param {{ label_type: PIXEL {fields} }} }}"
        )
        assert spec.layers[0].options.background_label == expected
        assert parse_net(net_text(spec)) == spec
