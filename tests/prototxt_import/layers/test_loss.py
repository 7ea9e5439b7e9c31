"""Losses."""

from __future__ import annotations

import pytest

from prototxt_import import parse_net
from tests.prototxt_import.texts import HEAD


def test_the_loss_is_one_number(tops):
    assert tops("SoftmaxWithLoss", (2, 5, 4, 4), (2, 1, 4, 4)) == ()


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
