"""Learnable blobs of layers that work element by element."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("type_name", "bottoms", "options", "expected"),
    [
        ("PReLU", [(1, 2, 3, 4)], {}, ((2,),)),
        ("PReLU", [(1, 2, 3, 4)], {"channel_shared": True}, ((1,),)),
    ],
)
def test_learnable_blobs(blobs, type_name, bottoms, options, expected):
    assert blobs(type_name, *bottoms, **options) == expected
