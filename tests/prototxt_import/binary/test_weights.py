"""The binary reader: views, every stored form, and files that lie."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from prototxt_import import CaffeFormatError, parse_net, read_mean, read_weights, schema
from prototxt_import.binary.weights import read_model, with_weights
from prototxt_import.binary.wire import encode_bytes, encode_key, encode_varint


def field(number, *payload):
    return b"".join(bytes(piece) for piece in encode_bytes(number, *payload))


def model(blob, dialect="v2"):
    """The bytes of a model with one layer "c" that holds one blob."""
    if dialect == "v0":
        return field(2, field(1, field(1, b"c"), field(2, b"conv"), field(50, blob)))
    if dialect == "v1":
        return field(2, field(4, b"c"), encode_key(5, 0) + encode_varint(4), field(6, blob))
    return field(100, field(1, b"c"), field(2, b"Convolution"), field(7, blob))


def shape(*dims):
    return field(7, field(1, b"".join(encode_varint(dim) for dim in dims)))


def read(tmp_path, content):
    path = tmp_path / "m.caffemodel"
    path.write_bytes(content)
    return read_weights(path)


FLOATS = struct.pack("<6f", *range(6))


@pytest.mark.parametrize("dialect", ["v0", "v1", "v2"])
def test_blobs_are_found_in_every_layer_format(tmp_path, dialect):
    weights = read(tmp_path, model(shape(2, 3) + field(5, FLOATS), dialect))
    assert list(weights) == ["c"]
    np.testing.assert_array_equal(weights["c"][0], np.arange(6.0).reshape(2, 3))


def test_packed_single_precision_is_a_readonly_view_of_the_file(tmp_path):
    array = read(tmp_path, model(shape(2, 3) + field(5, FLOATS)))["c"][0]
    assert not array.flags.owndata
    assert not array.flags.writeable
    base = array
    while isinstance(base, np.ndarray):
        base = base.base
    assert type(base.obj if isinstance(base, memoryview) else base).__name__ == "mmap"


def test_legacy_dimensions_are_four_axes(tmp_path):
    legacy = b"".join(encode_key(i, 0) + encode_varint(n) for i, n in enumerate((1, 1, 1, 6), 1))
    assert read(tmp_path, model(legacy + field(5, FLOATS), "v1"))["c"][0].shape == (1, 1, 1, 6)


def test_unpacked_numbers_are_read(tmp_path):
    loose = b"".join(encode_key(5, 5) + struct.pack("<f", i) for i in range(6))
    np.testing.assert_array_equal(read(tmp_path, model(shape(6) + loose))["c"][0], np.arange(6.0))
    np.testing.assert_array_equal(read(tmp_path, model(loose + shape(6)))["c"][0], np.arange(6.0))


def test_packed_numbers_in_several_pieces_are_joined(tmp_path):
    pieces = field(5, FLOATS[:8]) + field(5, FLOATS[8:])
    np.testing.assert_array_equal(read(tmp_path, model(shape(6) + pieces))["c"][0], np.arange(6.0))


def test_double_precision_wins_where_it_is_present(tmp_path):
    doubles = field(8, struct.pack("<6d", *[i / 3 for i in range(6)]))
    array = read(tmp_path, model(shape(6) + field(5, FLOATS) + doubles))["c"][0]
    np.testing.assert_array_equal(array, np.arange(6) / 3)


def test_mean_file_is_one_blob(tmp_path):
    path = tmp_path / "mean.binaryproto"
    path.write_bytes(shape(1, 2, 3, 1) + field(5, FLOATS))
    assert read_mean(path).shape == (1, 2, 3, 1)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "is empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "caffemodel"),
        (field(1, b"net"), "holds no layers"),
        (encode_key(1, 0) + b"\x05", "this is no Caffe model"),
        (model(shape(2, 4) + field(5, FLOATS)), "6 numbers, not 8"),
        (model(shape(2**40, 2**40) + field(5, FLOATS)), "impossible shape"),
        (model(shape(6) + field(5, FLOATS[:-1])), "no whole number"),
        (model(field(5, encode_varint(0) * 3)), "no whole number"),
        (encode_key(100, 2) + encode_varint(2**62), "the file is truncated"),
        (b"\xff" * 40, "no Caffe model"),
        (b"PK\x03\x04" + bytes(40), "an archive, as torch.save writes it, and no Caffe model"),
    ],
)
def test_files_that_lie_are_refused_with_name_and_reason(tmp_path, content, word):
    with pytest.raises(CaffeFormatError, match=word) as caught:
        read(tmp_path, content)
    assert "m.caffemodel" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_truncation_is_refused_or_leaves_whole_layers(tmp_path):
    whole = model(shape(2, 3) + field(5, FLOATS)) + model(shape(6) + field(5, FLOATS), "v1")
    for end in range(len(whole)):
        try:
            read(tmp_path, whole[:end])
        except CaffeFormatError:
            continue
        assert end == len(model(shape(2, 3) + field(5, FLOATS)))


@settings(max_examples=200)
@given(data=st.data())
def test_damaged_models_only_raise_format_errors(tmp_path_factory, data):
    whole = bytearray(model(shape(2, 3) + field(5, FLOATS)))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.caffemodel"
    path.unlink(missing_ok=True)
    path.write_bytes(bytes(whole))
    message = ""
    try:
        read_weights(path)
    except CaffeFormatError as error:
        message = str(error)
    assert "\n" not in message


@given(blob=hnp.arrays(np.float32, hnp.array_shapes(min_dims=1, max_dims=4, max_side=4), elements=st.floats(width=32)))
def test_what_protobuf_writes_is_read_bit_for_bit(tmp_path_factory, blob):
    net = schema.message("v2", "NetParameter")()
    stored = net.layer.add(name="c", type="Convolution").blobs.add()
    stored.shape.dim.extend(blob.shape)
    stored.data.extend(blob.ravel())
    path = tmp_path_factory.getbasetemp() / "protobuf.caffemodel"
    path.unlink(missing_ok=True)
    path.write_bytes(net.SerializeToString())
    assert read_weights(path)["c"][0].tobytes() == blob.tobytes()
    assert read_weights(path)["c"][0].shape == blob.shape


def test_hole_and_own_messages_tell_the_dialect_of_a_model(shared_caffe):
    nets = {"v1_largefov_oldformat": "v1", "v2_largefov": "v2"}
    dialects = {name: read_model(shared_caffe / "nets" / name / "weights.caffemodel").dialect for name in nets}
    assert dialects == nets


@pytest.mark.parametrize(
    ("type_name", "number", "dialect"),
    [
        (b"Interp", 143, "v2"),
        (b"Interp", 153, "x2"),
        (b"SegAccuracy", 144, "v2"),
        (b"DenseCRF", 152, "x2"),
        (b"ReLU", 123, "bvlc"),
        (b"Upsample", 137, "segnet"),
        (b"Upsample", 147, "enet"),
        (b"DenseImageData", 138, "segnet"),
        (b"DenseImageData", 46, "enet"),
        (b"BN", 152, "pspnet"),
        (b"BN", 45, "segnet"),
        (b"MultiStageMeanfield", 146, "crfrnn"),
        (b"MultiStageMeanfield", 1000, "crfrnn"),
    ],
)
def test_the_number_of_a_forks_own_message_tells_the_dialect(tmp_path, type_name, number, dialect):
    path = tmp_path / "m.caffemodel"
    path.write_bytes(field(100, field(1, b"i"), field(2, type_name), field(number, b"")))
    assert read_model(path).dialect == dialect


def test_nested_layers_and_own_types_tell_the_old_dialects(tmp_path):
    path = tmp_path / "m.caffemodel"
    path.write_bytes(model(shape(6) + field(5, FLOATS), "v0"))
    assert read_model(path).dialect == "v0"
    for content in (
        field(2, field(4, b"c"), encode_key(5, 0) + encode_varint(41)),
        field(2, field(4, b"c"), encode_key(5, 0) + encode_varint(4), field(10, encode_key(17, 0), encode_varint(12))),
    ):
        path.write_bytes(content)
        assert read_model(path).dialect == "v1"


def test_legacy_blobs_fit_shapes_of_fewer_axes_from_the_right():
    text = (
        'input: "x" input_shape { dim: 1 dim: 3 } layer { name: "fc" type: "InnerProduct" bottom: "x" top: "y" '
        "inner_product_param { num_output: 2 } }"
    )
    weight, bias = np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3), np.ones((1, 1, 1, 2), np.float32)
    fitted = with_weights(parse_net(text), {"fc": [weight, bias]}, "m").weights["fc"]
    assert [blob.shape for blob in fitted] == [(2, 3), (2,)]
    with pytest.raises(CaffeFormatError, match="do not belong together"):
        with_weights(parse_net(text), {"fc": [weight, bias.reshape(1, 1, 2, 1)]}, "m")


def test_blobs_for_a_layer_that_has_none_are_refused():
    text = 'input: "x" input_shape { dim: 1 dim: 3 } layer { name: "r" type: "ReLU" bottom: "x" top: "y" }'
    with pytest.raises(CaffeFormatError, match=r"layer 'r' \(ReLU\): has 0 blobs; m holds 2 for it"):
        with_weights(parse_net(text), {"r": [np.ones(1), np.ones(1)]}, "m")
