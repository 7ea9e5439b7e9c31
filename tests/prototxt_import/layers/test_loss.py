"""Losses, scores and ArgMax."""

from __future__ import annotations

import pytest

from prototxt_import import parse_net
from tests.prototxt_import.texts import HEAD


@pytest.mark.parametrize(
    ("type_name", "bottoms", "options", "expected"),
    [
        ("ArgMax", [(2, 5, 3, 4)], {"per_pixel": True, "top_k": 2, "out_max_val": True}, (2, 4, 3, 4)),
        ("ArgMax", [(2, 5, 3, 4)], {"axis": 1, "top_k": 2}, (2, 2, 3, 4)),
        ("ArgMax", [(2, 5, 3, 4)], {"out_max_val": True, "top_k": 3}, (2, 2, 3)),
        ("SegAccuracy", [(2, 5, 4, 4), (2, 1, 4, 4)], {}, (1, 1, 1, 3)),
        ("SoftmaxWithLoss", [(2, 5, 4, 4), (2, 1, 4, 4)], {}, ()),
    ],
)
def test_tops(tops, type_name, bottoms, options, expected):
    assert tops(type_name, *bottoms, **options) == expected


def test_v1_rules_follow_the_dialect():
    text = 'input: "x" input_dim: 1 input_dim: 4 input_dim: 5 input_dim: 5\n'
    text += 'layers { name: "a" type: ARGMAX bottom: "x" top: "y" }'
    assert parse_net(text).layers[0].options.per_pixel
    assert not parse_net(text, dialect="bvlc").layers[0].options.per_pixel


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
