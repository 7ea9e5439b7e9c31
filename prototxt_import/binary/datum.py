"""Datum: one record of the databases that Data layers read."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from prototxt_import.binary.wire import BYTES, FIXED32, VARINT, Wire
from prototxt_import.errors import complain
from prototxt_import.layers.shapes import MAX_COUNT
from prototxt_import.values import Array, Shape

_CHANNELS, _HEIGHT, _WIDTH, _DATA, _LABEL, _FLOATS, _ENCODED = range(1, 8)


@dataclass(frozen=True)
class Datum:
    """A record: either the bytes of an encoded picture, or numbers [C, H, W].

    Args:
        label: The record's integer.
        picture: A JPEG, PNG or what else OpenCV decodes; None where the numbers stand in `values`.
        values: uint8 or float32 [C, H, W], a read-only view; None for an encoded picture.

    Source:
        Caffe's Datum (caffe.proto) and DataTransformer::Transform: bytes win where both bytes and floats are there.
    """

    label: int
    picture: bytes | None
    values: Array | None


def parse_datum(data: bytes, source: str) -> Datum:
    """Read a Datum from a record's bytes.

    Args:
        data: The record's value.
        source: Names the record in errors: database file and key.

    Returns:
        The record.

    Raises:
        CaffeFormatError: The bytes are no Datum, cut short, or their number does not fit the shape; nothing is
            allocated on their word.

    Example:
        >>> from prototxt_import.binary.datum import parse_datum
        >>> parse_datum(bytes([8, 1, 16, 1, 24, 2, 34, 2, 7, 9, 40, 3]), "db/data.mdb, key '0'").values.tolist()
        [[[7, 9]]]
    """
    wire = Wire.of(data, source)
    numbers = {_CHANNELS: 0, _HEIGHT: 0, _WIDTH: 0, _LABEL: 0, _ENCODED: 0}
    raw = b""
    floats: list[Array] = []
    at = 0
    while at < wire.size:
        field = wire.field(at, wire.size)
        at = field.stop
        if field.number in numbers:
            wire.expect(field, VARINT)
            # int32 fields keep the low half, as protobuf's own parsers do.
            low = field.value & 0xFFFFFFFF
            numbers[field.number] = low - (1 << 32) if low >= 1 << 31 else low
        elif field.number == _DATA:
            wire.expect(field, BYTES)
            raw = bytes(wire.buffer[field.start : field.stop])
        elif field.number == _FLOATS:
            wire.expect(field, FIXED32, BYTES)
            if field.kind == BYTES:
                floats.append(wire.array(field.start, field.stop, "<f4"))
            else:
                values, at = wire.run(field, wire.size, "<f4")
                floats.append(values)
    label = numbers[_LABEL]
    if numbers[_ENCODED]:
        if not raw:
            raise complain("is marked as encoded and holds no picture", source=source)
        return Datum(label, raw, None)
    shape: Shape = (numbers[_CHANNELS], numbers[_HEIGHT], numbers[_WIDTH])
    if min(shape) < 1 or math.prod(shape) > MAX_COUNT:
        raise complain(f"has the impossible shape {list(shape)} (channels, height, width)", source=source)
    pixels = np.frombuffer(raw, np.uint8) if raw else np.concatenate(floats) if floats else np.zeros(0, np.float32)
    if pixels.size != math.prod(shape):
        kind = "bytes" if raw else "floats"
        raise complain(
            f"holds {pixels.size} {kind}, its shape {list(shape)} (channels, height, width) takes {math.prod(shape)}",
            source=source,
        )
    pixels.flags.writeable = False
    return Datum(label, None, pixels.reshape(shape))
