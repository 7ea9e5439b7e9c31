"""The wire format: whole runs of numbers, and files that lie about lengths."""

from __future__ import annotations

import numpy as np
import pytest

from prototxt_import import CaffeFormatError, read_weights
from prototxt_import.binary.wire import encode_bytes, encode_key, encode_varint
from tests.prototxt_import.limits import lean, quick


def layer_bytes(*pieces):
    blob = b"".join(encode_bytes(7, b"".join(pieces)))
    return b"".join(encode_bytes(100, b"".join(encode_bytes(1, b"c")), blob))


def fixed(number, value=1.0):
    return encode_key(number, 5) + np.float32(value).tobytes()


def refused_model(path, content, steps=400_000_000):
    path.write_bytes(content)
    with quick(steps), pytest.raises(CaffeFormatError) as caught:
        read_weights(path)
    return str(caught.value)


def test_runs_of_unpacked_numbers_that_are_cut_up_take_linear_time(tmp_path):
    pair = fixed(5) + encode_key(1, 0) + b"\x01"
    assert "numbers, not" in refused_model(tmp_path / "m.caffemodel", layer_bytes(pair * 100_000))


def test_a_model_of_unpacked_numbers_alone_is_read_whole(tmp_path):
    path = tmp_path / "m.caffemodel"
    path.write_bytes(layer_bytes(fixed(5, 2.5) * 3_000_000))
    with quick(200_000_000), lean(60):
        (blob,) = read_weights(path)["c"]
    assert blob.shape == (3_000_000,)
    assert bool((blob == 2.5).all())


def test_models_of_tiny_fields_and_of_many_axes_are_refused(tmp_path):
    path = tmp_path / "m.caffemodel"
    assert "fields; that is no Caffe model" in refused_model(path, encode_bytes(1, b"")[0] * 600_000, 800_000_000)
    side = b"".join(encode_bytes(7, encode_key(1, 0) + b"\x7f"))
    assert "more than 32 axes" in refused_model(path, layer_bytes(side * 100_000))
    packed = b"".join(encode_bytes(7, b"".join(encode_bytes(1, b"\x7f" * 1000))))
    assert "more than 32 axes" in refused_model(path, layer_bytes(packed))


def test_declared_lengths_allocate_nothing(tmp_path):
    path = tmp_path / "m.caffemodel"
    long = encode_key(100, 2) + encode_varint(2**40) + b"\x00" * 100
    assert "declares 1099511627776 bytes, 100 are left" in refused_model(path, long)
    dims = b"".join(encode_bytes(7, encode_key(1, 0) + encode_varint(2**31 - 1)))
    assert "has 1 numbers, not 2147483647" in refused_model(path, layer_bytes(dims, fixed(5)))
