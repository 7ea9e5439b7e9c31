"""ArgMax and what judges scores."""

from __future__ import annotations

import pytest

from prototxt_import import parse_net


@pytest.mark.parametrize(
    ("type_name", "bottoms", "options", "expected"),
    [
        ("ArgMax", [(2, 5, 3, 4)], {"per_pixel": True, "top_k": 2, "out_max_val": True}, (2, 4, 3, 4)),
        ("ArgMax", [(2, 5, 3, 4)], {"axis": 1, "top_k": 2}, (2, 2, 3, 4)),
        ("ArgMax", [(2, 5, 3, 4)], {"out_max_val": True, "top_k": 3}, (2, 2, 3)),
        ("SegAccuracy", [(2, 5, 4, 4), (2, 1, 4, 4)], {}, (1, 1, 1, 3)),
    ],
)
def test_tops(tops, type_name, bottoms, options, expected):
    assert tops(type_name, *bottoms, **options) == expected


def test_v1_rules_follow_the_dialect():
    text = 'input: "x" input_dim: 1 input_dim: 4 input_dim: 5 input_dim: 5\n'
    text += 'layers { name: "a" type: ARGMAX bottom: "x" top: "y" }'
    assert parse_net(text).layers[0].options.per_pixel
    assert not parse_net(text, dialect="bvlc").layers[0].options.per_pixel


def test_accuracy_of_more_classes_than_there_are_is_refused():
    text = 'input: "x" input_shape { dim: 2 dim: 3 } input: "l" input_shape { dim: 2 }\n'
    text += 'layer { name: "a" type: "Accuracy" bottom: "x" bottom: "l" top: "y" accuracy_param { top_k: %d } }'
    with pytest.raises(ValueError, match=r"layer 'a' \(Accuracy\): top_k is 5, but there are only 3 classes"):
        parse_net(text % 5)
    assert parse_net(text % 3).layers[0].options.top_k == 3
