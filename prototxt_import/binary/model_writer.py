"""Blobs back to Caffe's model files: binary in the dialect asked for, or HDF5.

Files are written under a temporary name beside their target and renamed when complete."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from prototxt_import import schema
from prototxt_import.binary.wire import BYTES, encode_bytes, encode_key, encode_varint
from prototxt_import.errors import CaffeFormatError, complain
from prototxt_import.layers import lookup
from prototxt_import.prototxt.writer import bare_message, check_dialect, layer_message, replace_file
from prototxt_import.spec import NetSpec
from prototxt_import.values import Array, LayerSpec
from prototxt_import.wiring import problem


def write_weights(
    weights: Mapping[str, Sequence[Array]],
    spec: NetSpec | None,
    path: str | os.PathLike[str],
    dialect: str = "v2",
    by_name: bool = False,
) -> None:
    """Write a .caffemodel, or where the name ends in .h5 an HDF5 model: each layer's blobs, stored as float32.

    A blob that layers share is in the binary file once per layer, in HDF5 only under the first, as Caffe has it.

    Args:
        weights: Arrays by layer name, in Caffe's blob order.
        spec: The net, whose layers are all written, binary with their settings; None writes the layers of `weights`
            with nothing but their blobs.
        path: The file.
        dialect: "v1" has `layers` with enum types and four legacy dimensions per blob, "v2", "x2" and "bvlc" have
            `layer` and blob shapes; HDF5 is alike in all.
        by_name: Whether a layer that the dialect lacks keeps its name, type and blobs and loses its settings, which
            reading weights does not need, instead of being refused.

    Raises:
        CaffeFormatError: Blobs do not fit the net, it has no such layer, or the file cannot name it or be written.

    Source:
        Caffe's Net::ToProto and Net::ToHDF5 (net.cpp).

    Example:
        >>> import numpy as np
        >>> from prototxt_import import layer, make_net, read_weights, write_weights
        >>> net = make_net("n", {"x": (1, 3)}, [layer("InnerProduct", "fc", "x", "y", num_output=2)])
        >>> write_weights({"fc": [np.ones((2, 3)), np.zeros(2)]}, net, "net.caffemodel.h5")
        >>> read_weights("net.caffemodel.h5")["fc"][1].tolist()
        [0.0, 0.0]
    """
    check_dialect(dialect)
    if spec is not None:
        _check_fit(weights, spec)
    if str(path).endswith(".h5"):
        replace_file(path, lambda stream: _write_hdf5(weights, spec, stream, str(path)))
    else:
        replace_file(path, lambda stream: _write_binary(weights, spec, stream, dialect, by_name))


def check_weights(spec: NetSpec, path: str | os.PathLike[str], dialect: str = "v2", by_name: bool = False) -> None:
    """Raise what `write_weights` would raise of a net, whatever its blobs hold; nothing is written.

    Args:
        spec: The net.
        path: As in `write_weights`.
        dialect: As in `write_weights`.
        by_name: As in `write_weights`.

    Raises:
        CaffeFormatError: A layer cannot be expressed, or named in such a file.

    Example:
        >>> from prototxt_import import layer, make_net
        >>> from prototxt_import.binary.model_writer import check_weights
        >>> check_weights(make_net("n", {"x": (1, 3)}, [layer("ReLU", "r", "x", "y")]), "net.caffemodel")
    """
    check_dialect(dialect)
    empty = {
        name: [np.zeros([0] * len(shape), np.float32) for shape in shapes] for name, shapes in spec.param_shapes.items()
    }
    if str(path).endswith(".h5"):
        _write_hdf5(empty, spec, io.BytesIO(), str(path))
    else:
        _write_binary(empty, spec, io.BytesIO(), dialect, by_name)


def _check_fit(weights: Mapping[str, Sequence[Array]], spec: NetSpec) -> None:
    known = {layer.name: layer for layer in spec.layers}
    for name, blobs in weights.items():
        if name not in known:
            raise complain(f"the net has no layer {name!r} to hold these blobs", source=spec.source)
        shapes = list(spec.param_shapes.get(name, ()))
        held = [tuple(np.shape(blob)) for blob in blobs]
        if blobs and held != shapes:
            fault = f"blobs of shapes {list(map(list, held))} do not fit {list(map(list, shapes))}"
            raise problem(known[name], spec.source, fault)


def _write_binary(
    weights: Mapping[str, Sequence[Array]], spec: NetSpec | None, stream: BinaryIO, dialect: str, by_name: bool
) -> None:
    head = schema.message(dialect, "NetParameter")(name="" if spec is None else spec.name)
    stream.write(head.SerializeToString())
    number, blobs_number = (2, 6) if dialect == "v1" else (100, 7)
    for name, message in _messages(weights, spec, dialect, by_name):
        payload: list[bytes | memoryview] = [message.SerializeToString()]
        for blob in weights.get(name, ()):
            payload += encode_bytes(blobs_number, *encode_blob(blob, dialect))
        for piece in encode_bytes(number, *payload):
            stream.write(piece)


def _messages(
    weights: Mapping[str, Sequence[Array]], spec: NetSpec | None, dialect: str, by_name: bool
) -> Iterator[tuple[str, Any]]:
    """Each layer's name and its message without blobs."""
    if spec is None:
        kind = schema.message(dialect, "V1LayerParameter" if dialect == "v1" else "LayerParameter")
        yield from ((name, kind(name=name)) for name in weights)
        return
    for layer in spec.layers:
        try:
            message = layer_message(layer, dialect, spec.source)
        except CaffeFormatError:
            if not by_name:
                raise
            message = bare_message(layer, dialect)
        _drop_unnumbered(message, layer, dialect)
        yield layer.name, message


def _drop_unnumbered(message: Any, layer: LayerSpec, dialect: str) -> None:
    """Take out a registered type's own message where nobody has given it a number for binary files."""
    row = lookup(layer.type)
    field = row.field if row is not None else ""
    if field in message.DESCRIPTOR.fields_by_name and not schema.is_numbered(dialect, field):
        message.ClearField(field)


def encode_blob(blob: Array, dialect: str) -> list[bytes | memoryview]:
    """A BlobProto of single-precision numbers.

    Args:
        blob: The numbers.
        dialect: The dialect: "v1" gives four legacy dimensions, all others the shape.

    Returns:
        The pieces to write in order.

    Raises:
        CaffeFormatError: The blob has more axes than the dialect knows.
    """
    shape = np.shape(blob)
    data = np.ascontiguousarray(blob, dtype="<f4").reshape(-1)
    pieces: list[bytes | memoryview] = []
    if dialect == "v1":
        if len(shape) > 4:
            raise complain(f"a blob of shape {list(shape)} has more axes than the 4 of the v1 dialect")
        # Old Caffe knows blobs of four axes only and fills up in front.
        for number, side in enumerate((1,) * (4 - len(shape)) + shape, 1):
            pieces.append(encode_key(number, 0) + encode_varint(side))
    pieces += encode_bytes(5, data.data.cast("B")) if data.size else []
    if dialect != "v1":
        dims = b"".join(encode_varint(side) for side in shape)
        inner = encode_key(1, BYTES) + encode_varint(len(dims)) + dims if shape else b""
        pieces += encode_bytes(7, inner)
    return pieces


def _write_hdf5(weights: Mapping[str, Sequence[Array]], spec: NetSpec | None, stream: BinaryIO, source: str) -> None:
    try:
        import h5py
    except ImportError:
        raise complain("HDF5 models are written by h5py; `pip install h5py`", source=source) from None
    owned: set[str] = set()
    layers = {name: () for name in weights} if spec is None else {layer.name: layer.params for layer in spec.layers}
    with h5py.File(stream, "w") as file:
        data = file.create_group("data")
        for name, params in layers.items():
            if not all(part.strip(".") for part in name.split("/")):
                if not weights.get(name):
                    continue  # nothing to hold, such as a layer whose name is absent
                raise complain(f"layer {name!r} has a name that HDF5 cannot hold; write a binary model", source=source)
            try:
                group = data.require_group(name)
                for index, blob in enumerate(weights.get(name, ())):
                    shared = params[index].name if index < len(params) else ""
                    if not shared or shared not in owned:
                        group.create_dataset(str(index), data=np.asarray(blob, dtype="<f4"))
                        owned.add(shared)
            except (ValueError, TypeError, OSError, RuntimeError) as error:
                raise complain(f"layer {name!r} cannot be stored: {error}", source=source) from error
