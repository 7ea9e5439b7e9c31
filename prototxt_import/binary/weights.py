"""Model files: blobs by layer name, as views of the mapped file, and their fit to a net."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from prototxt_import.binary.hdf5 import ABSENT, is_hdf5, read_hdf5
from prototxt_import.binary.wire import BYTES, FIXED32, FIXED64, VARINT, Wire, WireField
from prototxt_import.errors import complain
from prototxt_import.layers.shapes import MAX_AXES, MAX_COUNT
from prototxt_import.spec import NetSpec, fit
from prototxt_import.values import Array, Shape

# What torch.save writes begins so.
_ZIP = b"PK\x03\x04"
# Field numbers (see schema/): of a net its layers, of a layer in each format its name, type and blobs.
_V1_LAYERS, _V2_LAYER = 2, 100
_V0_NESTED, _V0_NAME, _V0_TYPE, _V0_BLOBS = 1, 1, 2, 50
_V1_NAME, _V1_TYPE, _V1_BLOBS, _V1_CONVOLUTION = 4, 5, 6, 10
_V2_NAME, _V2_TYPE, _V2_BLOBS = 1, 2, 7
_HOLE = 17
_DECONVOLUTION = 39
_V1_FORK_TYPES = range(40, 57)
_V1_MEAN_FIELD, _V1_BN = 42, 43


@dataclass
class StoredLayer:
    """A layer of a model file. type: the V2 or V0 name, or the V1 enum number; fields: the numbers of its fields."""

    name: str = ""
    type: str | int = ""
    blobs: list[Array] = dataclasses.field(default_factory=list)
    fields: set[int] = dataclasses.field(default_factory=set)
    hole: bool = False


@dataclass(frozen=True)
class StoredModel:
    """A model file: net name, dialect by what it contains (see prototxt.net.DIALECTS), layers in file order.

    evidence: what told the dialect, in words."""

    name: str
    dialect: str
    layers: tuple[StoredLayer, ...]
    evidence: str = ""


def read_weights(path: str | os.PathLike[str]) -> dict[str, list[Array]]:
    """The blobs of every layer that has any.

    Args:
        path: A .caffemodel of any dialect, or a .caffemodel.h5.

    Returns:
        {layer name: [array, ...]} in Caffe's blob order and the file's shapes. Arrays are float32, read-only views of
        the mapped file where it holds packed single precision; else copies (double precision stays float64). HDF5
        models are read as copies; where they leave out a shared blob before another one, an empty array stands in its
        place.

    Raises:
        CaffeFormatError: The file is no model; the message has its name and the offset.

    Example:
        >>> import numpy as np
        >>> from prototxt_import import read_weights, write_weights
        >>> write_weights({"fc": [np.ones((2, 3)), np.zeros(2)]}, None, "fc.caffemodel")
        >>> [blob.shape for blob in read_weights("fc.caffemodel")["fc"]]
        [(2, 3), (2,)]
    """
    if is_hdf5(path):
        return read_hdf5(path)
    blobs: dict[str, list[Array]] = {}
    for layer in read_model(path).layers:
        if layer.blobs:
            blobs[layer.name] = layer.blobs
    return blobs


def read_mean(path: str | os.PathLike[str]) -> Array:
    """The array in a mean file.

    Args:
        path: A .binaryproto: one BlobProto, usually of shape (1, C, H, W).

    Returns:
        The array, a read-only view of the mapped file.

    Raises:
        CaffeFormatError: The file is no mean; the message has its name and the offset.

    Example:
        >>> import struct
        >>> from pathlib import Path
        >>> from prototxt_import import read_mean
        >>> numbers = struct.pack("<3f", 104, 117, 123)
        >>> sides = bytes([8, 1, 16, 3, 24, 1, 32, 1])  # num, channels, height, width of the old BlobProto
        >>> _ = Path("mean.binaryproto").write_bytes(sides + bytes([42, len(numbers)]) + numbers)
        >>> read_mean("mean.binaryproto").ravel().tolist()
        [104.0, 117.0, 123.0]
    """
    wire = Wire(path)
    array = read_blob(wire, WireField(0, BYTES, 0, 0, 0, wire.size))
    if not array.size:
        raise complain("holds no numbers; it is no mean file", source=wire.source)
    return array


def read_model(path: str | os.PathLike[str]) -> StoredModel:
    """Everything of a model file that does not depend on knowing its dialect beforehand.

    Args:
        path: A .caffemodel.

    Returns:
        The model.

    Raises:
        CaffeFormatError: As `read_weights` does.
    """
    wire = Wire(path)
    if bytes(wire.buffer[:4]) == _ZIP:
        raise complain(
            "is an archive, as torch.save writes it, and no Caffe model; `deeplab convert NET.prototxt FILE -o "
            "NEW.caffemodel` makes one of a net's own .pth or a known port's",
            source=wire.source,
        )
    name = ""
    layers: list[StoredLayer] = []
    formats: set[str] = set()
    for field in wire.fields():
        if field.number == 1:
            name = wire.text(field)
        elif field.number in (_V1_LAYERS, _V2_LAYER):
            wire.expect(field, BYTES)
            layer, kind = _v2_layer(wire, field) if field.number == _V2_LAYER else _v1_layer(wire, field)
            layers.append(layer)
            formats.add(kind)
    if not layers:
        raise complain("holds no layers; a solver state, a mean file or something else?", source=wire.source)
    dialect, evidence = _dialect(layers, formats)
    return StoredModel(name, dialect, tuple(layers), evidence)


def _dialect(layers: Sequence[StoredLayer], formats: set[str]) -> tuple[str, str]:
    """The dialect, and in words what tells it."""
    if "v0" in formats:
        return "v0", "layers nested in the layers of the V1 format"
    if "v1" in formats:
        # 39 is IMAGE_SEG_DATA in the fork, DECONVOLUTION in BVLC; without evidence the fork is assumed, as for text.
        late = [layer for layer in layers if layer.type == _DECONVOLUTION and _V1_CONVOLUTION in layer.fields]
        sibling = next((evidence for layer in layers if (evidence := _v1_sibling(layer))), None)
        if sibling:
            return sibling
        for layer in layers:
            if layer.hole or layer.type in _V1_FORK_TYPES:
                return "v1", f"{'hole' if layer.hole else f'type {layer.type}'} (layer {layer.name!r}) in V1 layers"
        if late:
            return "bvlc", f"DECONVOLUTION (layer {late[0].name!r}) in V1 layers"
        return "v1", "V1 layers, and nothing that only BVLC has"
    # Only the forks have these types, and each fork numbers their messages in its own way. BN comes last: alone it does
    # not tell SegNet from ENet.
    numbers = {
        "Upsample": {137: "segnet", 147: "enet"},
        "DenseImageData": {138: "segnet", 46: "enet"},
        "MultiStageMeanfield": {146: "crfrnn", 1000: "crfrnn"},
        "BN": {152: "pspnet", 45: "segnet"},
        "Interp": {143: "v2", 153: "x2"},
        "SegAccuracy": {144: "v2", 154: "x2"},
        "MatWrite": {145: "v2", 155: "x2"},
        "DenseCRF": {146: "v2", 152: "x2"},
    }
    for kind, forks in numbers.items():
        for layer in layers:
            number = next((field for field in forks if layer.type == kind and field in layer.fields), None)
            if number is not None:
                return forks[number], f"{kind} (layer {layer.name!r}) with its options in field {number}"
    for layer in layers:
        if layer.type == "ImageSegData":
            return "v2", f"ImageSegData (layer {layer.name!r})"
    return "bvlc", "V2 layers, and nothing that only a fork has"


def _v1_sibling(layer: StoredLayer) -> tuple[str, str] | None:
    """The sibling fork of a V1 layer whose number another fork has for a layer without blobs."""
    shapes = [blob.shape for blob in layer.blobs]
    if layer.type == _V1_MEAN_FIELD and len(shapes) == 3 and all(shape == (1, 1, *shape[-1:] * 2) for shape in shapes):
        return "crfrnn", f"type {layer.type} with three square blobs (layer {layer.name!r}) in V1 layers"
    if layer.type == _V1_BN and len(shapes) == 2:
        return "segnet", f"type {layer.type} with two blobs (layer {layer.name!r}) in V1 layers"
    return None


def _v2_layer(wire: Wire, message: WireField) -> tuple[StoredLayer, str]:
    layer = StoredLayer()
    for field in wire.fields(message.start, message.stop):
        layer.fields.add(field.number)
        if field.number == _V2_NAME:
            layer.name = wire.text(field)
        elif field.number == _V2_TYPE:
            layer.type = wire.text(field)
        elif field.number == _V2_BLOBS:
            layer.blobs.append(read_blob(wire, field))
    return layer, "v2"


def _v1_layer(wire: Wire, message: WireField) -> tuple[StoredLayer, str]:
    layer, kind = StoredLayer(), "v1"
    for field in wire.fields(message.start, message.stop):
        layer.fields.add(field.number)
        if field.number == _V0_NESTED:
            wire.expect(field, BYTES)
            kind = "v0"
            _v0_layer(wire, field, layer)
        elif field.number == _V1_NAME:
            layer.name = wire.text(field)
        elif field.number == _V1_TYPE:
            layer.type = wire.signed(field)
        elif field.number == _V1_BLOBS:
            layer.blobs.append(read_blob(wire, field))
        elif field.number == _V1_CONVOLUTION:
            wire.expect(field, BYTES)
            # In BVLC's numbering field 17 is a truth value, so anything above 1 is the v1 fork's hole.
            layer.hole = any(
                inner.number == _HOLE and inner.kind == VARINT and inner.value > 1
                for inner in wire.fields(field.start, field.stop)
            )
    return layer, kind


def _v0_layer(wire: Wire, message: WireField, layer: StoredLayer) -> None:
    for field in wire.fields(message.start, message.stop):
        if field.number == _V0_NAME:
            layer.name = wire.text(field)
        elif field.number == _V0_TYPE:
            layer.type = wire.text(field)
        elif field.number == _V0_BLOBS:
            layer.blobs.append(read_blob(wire, field))


def read_blob(wire: Wire, message: WireField) -> Array:
    """A BlobProto as an array.

    Args:
        wire: The file.
        message: The field that holds the BlobProto.

    Returns:
        The array in its shape, read-only; double_data wins where it is present, as in Caffe.

    Raises:
        CaffeFormatError: Shape and numbers do not go together; the message has the offset.
    """
    wire.expect(message, BYTES)
    legacy: dict[int, int] = {}
    shape: Shape | None = None
    parts: dict[int, list[Array]] = {5: [], 8: []}
    at = message.start
    while at < message.stop:
        field = wire.field(at, message.stop)
        at = field.stop
        if field.number <= 4:
            legacy[field.number] = wire.signed(field)
        elif field.number == 7:
            wire.expect(field, BYTES)
            shape = (*(shape or ()), *_dims(wire, field))
            if len(shape) > MAX_AXES:
                raise wire.error(field.at, f"a blob has more than {MAX_AXES} axes")
        elif field.number in (5, 6, 8, 9):
            dtype, kind = ("<f4", FIXED32) if field.number < 7 else ("<f8", FIXED64)
            wire.expect(field, BYTES, kind)
            if field.kind == BYTES:
                values = wire.array(field.start, field.stop, dtype)
            else:
                values, at = wire.run(field, message.stop, dtype)
            if field.number in parts:
                parts[field.number].append(values)
    pieces = [values for values in parts[8] if values.size] or parts[5] or [np.zeros(0, "<f4")]
    data = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
    data.flags.writeable = False
    if legacy:
        shape = tuple(legacy.get(number, 0) for number in range(1, 5))
    elif shape is None:
        shape = () if data.size == 1 else (data.size,)
    # An empty side does not excuse the others: no array can have them.
    if any(side < 0 for side in shape) or math.prod(max(side, 1) for side in shape) > MAX_COUNT:
        raise wire.error(message.at, f"a blob has the impossible shape {list(shape)}")
    if math.prod(shape) != data.size:
        raise wire.error(message.at, f"a blob of shape {list(shape)} has {data.size} numbers, not {math.prod(shape)}")
    return data.reshape(shape)


def _dims(wire: Wire, message: WireField) -> list[int]:
    dims: list[int] = []
    for field in wire.fields(message.start, message.stop):
        if field.number != 1:
            continue
        wire.expect(field, BYTES, VARINT)
        # One unpacked number is what a packed run of one would hold.
        at = field.start
        while at < field.stop:
            value, at = wire.varint(at, field.stop)
            dims.append(value - (1 << 64) if value >= 1 << 63 else value)
            if len(dims) > MAX_AXES:
                raise wire.error(field.at, f"a blob has more than {MAX_AXES} axes")
    return dims


def attach(spec: NetSpec, path: str | os.PathLike[str]) -> NetSpec:
    """A net with the blobs of a model file, matched by layer name.

    Args:
        spec: The net.
        path: The model.

    Returns:
        The net. Layers of the file that the net lacks are ignored (unused_weights), layers of the net that the file
        lacks keep their fillers (missing_weights).

    Raises:
        CaffeFormatError: Counts or shapes differ, or the file is no model.
    """
    stored = read_weights(path)
    return with_weights(spec, stored, str(path))


def with_weights(spec: NetSpec, stored: Mapping[str, Sequence[Array]], source: str) -> NetSpec:
    """`attach` for arrays at hand.

    Args:
        spec: The net.
        stored: Arrays by layer name.
        source: Where they come from, for errors.

    Returns:
        The net, as of `attach`.

    Raises:
        CaffeFormatError: Counts or shapes differ.
    """
    wanted = {
        layer.name: layer.options.blob_count(len(layer.bottoms))
        for layer in spec.layers
        if layer.options.blob_count(len(layer.bottoms))
    }
    stored = _with_shared(spec, stored)
    for layer in spec.layers:
        blobs = stored.get(layer.name, ())
        if blobs and len(blobs) != wanted.get(layer.name, 0):
            raise complain(
                f"has {wanted.get(layer.name, 0)} blobs; {source} holds {len(blobs)} for it; is it this net's model?",
                source=spec.source,
                line=layer.line,
                layer=layer.name,
                type_name=layer.type,
            )
    # Blobs in the text stay where the file has none.
    matched = {**spec.weights, **{name: list(stored[name]) for name in wanted if stored.get(name)}}
    spec = dataclasses.replace(
        spec,
        weights=matched,
        unused_weights=tuple(name for name, blobs in stored.items() if blobs and name not in matched),
        missing_weights=tuple(name for name in wanted if name not in matched),
    )
    return fit(spec, source)


def _with_shared(spec: NetSpec, stored: Mapping[str, Sequence[Array]]) -> dict[str, Sequence[Array]]:
    """`stored` with blobs that only their owner has under every layer that shares them: HDF5 models leave those out."""
    completed = dict(stored)
    owners: dict[str, Array] = {}
    for layer in spec.layers:
        blobs = list(stored.get(layer.name, ()))
        for index, param in enumerate(layer.params):
            absent = index >= len(blobs) or blobs[index] is ABSENT
            if absent and param.name in owners and index <= len(blobs):
                blobs[index : index + 1] = [owners[param.name]]
            elif not absent and param.name:
                owners.setdefault(param.name, blobs[index])
        if blobs:
            completed[layer.name] = blobs
    return completed
