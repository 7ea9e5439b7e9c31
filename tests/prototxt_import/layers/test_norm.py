"""Learnable blobs of normalising and affine layers."""

from __future__ import annotations

import pytest


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
