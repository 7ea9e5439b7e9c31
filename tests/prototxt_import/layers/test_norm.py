"""Learnable blobs of normalising and affine layers."""

from __future__ import annotations

import pytest

from prototxt_import import parse_net


@pytest.mark.parametrize(
    ("type_name", "bottoms", "options", "expected"),
    [
        ("BatchNorm", [(1, 2, 3, 4)], {}, ((2,), (2,), (1,))),
        ("Scale", [(1, 2, 3, 4)], {"bias_term": True}, ((2,), (2,))),
        ("Scale", [(1, 2, 3, 4)], {"axis": 2, "num_axes": -1}, ((3, 4),)),
        ("Scale", [(1, 2, 3, 4), (2, 3)], {"bias_term": True}, ((2, 3),)),
    ],
)
def test_learnable_blobs(blobs, type_name, bottoms, options, expected):
    assert blobs(type_name, *bottoms, **options) == expected


@pytest.mark.parametrize(("dialect", "eps"), [("v1", 1e-10), ("v2", 1e-9), ("x2", 1e-9)])
def test_mvn_holds_its_deviation_off_zero_by_the_forks_number(dialect, eps):
    text = 'input: "x" input_dim: [1, 2, 3, 4] layer { name: "m" type: "MVN" bottom: "x" top: "y" }'
    assert parse_net(text, dialect=dialect).layers[0].options.eps == eps
