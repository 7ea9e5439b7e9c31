"""Records of databases, as protobuf writes them and as no one should."""

import numpy as np
import pytest

from prototxt_import import CaffeFormatError, schema
from prototxt_import.binary.datum import parse_datum
from prototxt_import.binary.wire import encode_bytes
from tests.prototxt_import.limits import lean, quick


def written(**fields):
    return schema.message("bvlc", "Datum")(**fields).SerializeToString()


def test_bytes_floats_and_pictures_are_told_apart():
    shape = {"channels": 1, "height": 2, "width": 2}
    datum = parse_datum(written(**shape, data=bytes([1, 2, 3, 255]), label=-2), "x")
    assert (datum.label, datum.picture) == (-2, None)
    assert datum.values.dtype == np.uint8
    assert datum.values.tolist() == [[[1, 2], [3, 255]]]
    floats = parse_datum(written(**shape, float_data=[1.5, 2, 3, 4]), "x").values
    assert floats.dtype == np.float32
    assert floats.tolist() == [[[1.5, 2], [3, 4]]]
    packed = written(**shape) + b"".join(map(bytes, encode_bytes(6, np.float32([1.5, 2, 3, 4]).tobytes())))
    assert (parse_datum(packed, "x").values == floats).all()
    # Where both are there, Caffe takes the bytes.
    assert parse_datum(written(**shape, data=b"abcd", float_data=[1.0]), "x").values.dtype == np.uint8
    picture = parse_datum(written(data=b"a picture", encoded=True, label=4), "x")
    assert (picture.label, picture.picture, picture.values) == (4, b"a picture", None)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x22\x7fab", "declares 127 bytes"),
        (b"\x08", "a number runs past its end"),
        (b"\x0d\x00\x00\x00\x00", "field 1 holds 4 bytes"),
        (b"", r"impossible shape \[0, 0, 0\]"),
        (written(channels=2**31 - 1, height=2**31 - 1, width=2**31 - 1, data=b"a"), "impossible shape"),
        (written(channels=1, height=40000, width=50000, data=b"a"), "holds 1 bytes, its shape"),
        (written(channels=1, height=1, width=2, float_data=[1.0]), "holds 1 floats"),
        (written(encoded=True), "holds no picture"),
    ],
)
def test_what_no_record_is_is_refused_at_once(data, words):
    with quick(40_000_000), lean(1), pytest.raises(CaffeFormatError, match=f"^db, key 'a'.*{words}"):
        parse_datum(data, "db, key 'a'")
