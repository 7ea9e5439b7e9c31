"""How numbers are read."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from prototxt_import import layer, parse_net
from prototxt_import.layers.messages import single


def test_numbers_are_the_shortest_with_the_same_single_precision():
    text = 'layer { name: "d" type: "DummyData" top: "x" dummy_data_param { shape { dim: 1 } } }'
    text += 'layer { name: "p" type: "Power" bottom: "x" top: "y" '
    text += "power_param { scale: 0.1 shift: 1e-5 power: 0.333333343 } }"
    assert parse_net(text).layers[1].options == layer("Power", "p", scale=0.1, shift=1e-5, power=0.33333334).options


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_shortened_numbers_keep_their_single_precision_bits(value):
    assert np.float32(single(value)) == np.float32(value)
