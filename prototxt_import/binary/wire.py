"""Protocol Buffers wire format over a byte buffer: bounds-checked walking, and the little that writing takes.

Nothing is copied or allocated on a file's word: every declared length is held against the bytes that are there."""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from prototxt_import.errors import ODD_BYTES, CaffeFormatError, complain, other_file
from prototxt_import.values import Array

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_KINDS = {VARINT: "a varint", FIXED64: "8 bytes", BYTES: "a length-delimited value", FIXED32: "4 bytes"}
# How prototxts begin, comments aside.
_TEXT = re.compile(rb"\s*(?:#[^\n]*\n\s*)*(?:name|input|layers?|net|base_lr)\s*[:{]")
# A published ResNet-101 has about 40,000 fields besides its numbers; a file made of tiny fields must not stall us.
MAX_FIELDS = 500_000


@dataclass(frozen=True)
class WireField:
    """One field: number, wire type, offset of its key, and either its integer value or the span of its bytes."""

    number: int
    kind: int
    at: int
    value: int
    start: int
    stop: int


class Wire:
    """A mapped file read as wire format, or bytes at hand. Errors carry the source's name and the offset."""

    buffer: mmap.mmap | bytes

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.source = str(path)
        self._fields = 0
        try:
            with open(path, "rb") as stream:
                if stream.seek(0, 2) == 0:
                    raise complain("is empty", source=self.source)
                stream.seek(0)
                head = stream.read(4096)
                if other := other_file(head) or (_TEXT.match(head) and "is a prototxt and no Caffe model"):
                    raise complain(other, source=self.source)
                self.buffer = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            if isinstance(error, CaffeFormatError):
                raise
            raise complain(
                f"cannot be read: {getattr(error, 'strerror', None) or error}", source=self.source
            ) from error
        self.size = len(self.buffer)

    @classmethod
    def of(cls, data: bytes, source: str) -> Wire:
        """Bytes that are no file of their own.

        Args:
            data: The bytes.
            source: Names them in errors.

        Returns:
            The reader.
        """
        wire = cls.__new__(cls)
        wire.source, wire.buffer, wire.size, wire._fields = source, data, len(data), 0
        return wire

    def error(self, at: int, fault: str) -> CaffeFormatError:
        """An error about a place in the file.

        Args:
            at: Offset of the byte.
            fault: What is wrong there.

        Returns:
            The error, to be raised.
        """
        return complain(f"at byte {at} of {self.size}: {fault}", source=self.source)

    def varint(self, at: int, stop: int) -> tuple[int, int]:
        """An unsigned varint.

        Args:
            at: Its offset.
            stop: Where the message ends that it stands in.

        Returns:
            (value, offset behind it).

        Raises:
            CaffeFormatError: It runs past the end.
        """
        value = shift = 0
        buffer = self.buffer
        for offset in range(at, min(at + 10, stop)):
            byte = buffer[offset]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & 0xFFFFFFFFFFFFFFFF, offset + 1
            shift += 7
        raise self.error(at, "a number runs past its end; the file is truncated or no Caffe model")

    def fields(self, start: int = 0, stop: int | None = None) -> Iterator[WireField]:
        """The fields of a message.

        Args:
            start: Where the message begins.
            stop: Where it ends, None for the end of the file.

        Yields:
            Field after field.

        Raises:
            CaffeFormatError: The bytes are no fields.
        """
        at, stop = start, self.size if stop is None else stop
        while at < stop:
            field = self.field(at, stop)
            yield field
            at = field.stop

    def field(self, at: int, stop: int) -> WireField:
        """One field of a message.

        Args:
            at: Offset of its key.
            stop: Where the message ends.

        Returns:
            The field.

        Raises:
            CaffeFormatError: There is none, it is longer than what is left, or the file has absurdly many.
        """
        self._fields += 1
        if self._fields > MAX_FIELDS:
            raise self.error(at, f"more than {MAX_FIELDS} fields; that is no Caffe model")
        key_at = at
        key, at = self.varint(at, stop)
        number, kind = key >> 3, key & 7
        if number == 0 or kind not in _KINDS:
            raise self.error(key_at, "not a protobuf field; the file is truncated or no Caffe model")
        if kind == VARINT:
            begin = at
            value, at = self.varint(at, stop)
            return WireField(number, kind, key_at, value, begin, at)
        length = {FIXED64: 8, FIXED32: 4}.get(kind, 0)
        if kind == BYTES:
            length, at = self.varint(at, stop)
        if length > stop - at:
            raise self.error(
                key_at, f"field {number} declares {length} bytes, {stop - at} are left; the file is truncated"
            )
        return WireField(number, kind, key_at, 0, at, at + length)

    def expect(self, field: WireField, *kinds: int) -> None:
        """Check the wire type of a field.

        Args:
            field: The field.
            kinds: The types that it may have.

        Raises:
            CaffeFormatError: It has another.
        """
        if field.kind not in kinds:
            raise self.error(
                field.at,
                f"field {field.number} holds {_KINDS[field.kind]}, not {_KINDS[kinds[0]]}; this is no Caffe model",
            )

    def text(self, field: WireField) -> str:
        """The string in a field.

        Args:
            field: The field.

        Returns:
            The string.

        Raises:
            CaffeFormatError: The field holds something else.
        """
        self.expect(field, BYTES)
        return self.buffer[field.start : field.stop].decode("utf-8", ODD_BYTES)

    def signed(self, field: WireField) -> int:
        """The int32 or int64 in a field.

        Args:
            field: The field.

        Returns:
            The number.

        Raises:
            CaffeFormatError: The field holds something else.
        """
        self.expect(field, VARINT)
        return field.value - (1 << 64) if field.value >= 1 << 63 else field.value

    def array(self, start: int, stop: int, dtype: str) -> Array:
        """A view of packed numbers.

        Args:
            start: Where they begin.
            stop: Where they end.
            dtype: "<f4" or "<f8".

        Returns:
            A read-only array.

        Raises:
            CaffeFormatError: The bytes are no whole number of them.
        """
        width = np.dtype(dtype).itemsize
        if (stop - start) % width:
            raise self.error(start, f"{stop - start} bytes are no whole number of {width}-byte values")
        return np.frombuffer(self.buffer, dtype, (stop - start) // width, start)

    def run(self, field: WireField, stop: int, dtype: str) -> tuple[Array, int]:
        """The numbers in a run of unpacked fields.

        Old files spend a key on every number; walking those one by one would take minutes.

        Args:
            field: The run's first field.
            stop: Where the message ends.
            dtype: "<f4" or "<f8".

        Returns:
            (a copy of the numbers, the offset behind the run).
        """
        width = np.dtype(dtype).itemsize
        key = self.buffer[field.at : field.start]
        stride = len(key) + width
        if self.buffer[field.stop : field.stop + len(key)] != key or field.stop + stride > stop:
            return np.frombuffer(self.buffer, dtype, 1, field.start), field.stop
        pattern = np.frombuffer(key, np.uint8)
        room = (stop - field.at) // stride
        length, look = 1, 64
        # Look ahead twice as far each time, so that many short runs cost no more than one long one.
        while length < room:
            look = min(2 * look, room - length)
            ahead = np.frombuffer(self.buffer, np.uint8, look * stride, field.at + length * stride)
            same = (ahead.reshape(-1, stride)[:, : len(key)] == pattern).all(axis=1)
            if not same.all():
                length += int(np.argmin(same))
                break
            length += look
        records = np.frombuffer(self.buffer, np.uint8, length * stride, field.at).reshape(-1, stride)
        values = np.ascontiguousarray(records[:, len(key) :]).view(dtype).reshape(-1)
        return values, field.at + length * stride


def encode_varint(value: int) -> bytes:
    """A varint.

    Args:
        value: The number; a negative one is written as protobuf's 10-byte two's complement.

    Returns:
        Its bytes.
    """
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_key(number: int, kind: int) -> bytes:
    """The key that precedes a field.

    Args:
        number: The field's number.
        kind: Its wire type.

    Returns:
        Its bytes.
    """
    return encode_varint(number << 3 | kind)


def encode_bytes(number: int, *payload: bytes | memoryview) -> list[bytes | memoryview]:
    """A length-delimited field.

    Args:
        number: The field's number.
        payload: What it holds, in pieces.

    Returns:
        The pieces to write in order.
    """
    length = sum(len(piece) if isinstance(piece, bytes) else piece.nbytes for piece in payload)
    return [encode_key(number, BYTES) + encode_varint(length), *payload]
