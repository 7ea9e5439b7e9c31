"""What the fuzzers and the replay of their findings call: bytes through a reader, as a file."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from prototxt_import import (
    CaffeFormatError,
    net_text,
    read_mean,
    read_net,
    read_solver,
    read_solverstate,
    read_weights,
    schema,
)
from prototxt_import.binary.datum import parse_datum
from prototxt_import.binary.wire import encode_bytes
from prototxt_import.layers import layer_types

GOLDEN = Path(__file__).parents[1] / "golden"
FINDINGS = Path(__file__).parent / "findings"
# Seeds longer than this are cut: mutating the rest of a whole net brings nothing but slow executions.
SEED_BYTES = 1500


def _only_format_errors(read: Callable[..., object], *arguments: object) -> None:
    with contextlib.suppress(CaffeFormatError):
        read(*arguments)


def read_as_text(data: bytes, file: Path) -> None:
    """Every text reader on `data`; and what is read is written again. Only CaffeFormatError passes."""
    file.write_bytes(data)
    # One phase each, so that an execution is one reading; which it is depends on every byte.
    _only_format_errors(_there_and_back, file, ("TRAIN", "TEST")[sum(data) % 2])
    if b"layer" not in data:
        _only_format_errors(read_solver, file)


def _there_and_back(file: Path, phase: str) -> None:
    spec = read_net(file, phase=phase)
    for dialect in ("v1", "v2"):
        _only_format_errors(net_text, spec, dialect)


def read_as_hdf5(data: bytes, file: Path) -> None:
    """Every reader of HDF5 on `data`; only CaffeFormatError passes."""
    file.write_bytes(data)
    for read in (read_weights, read_solverstate):
        _only_format_errors(read, file)


def read_as_datum(data: bytes, file: Path) -> None:
    """The reader of a database's records on `data`; only CaffeFormatError passes."""
    _only_format_errors(parse_datum, data, str(file))


def read_as_binary(data: bytes, file: Path) -> None:
    """Every binary reader on `data`; only CaffeFormatError passes."""
    file.write_bytes(data)
    for read in (read_weights, read_mean, read_solverstate):
        _only_format_errors(read, file)


READERS = {"text": read_as_text, "binary": read_as_binary, "hdf5": read_as_hdf5, "datum": read_as_datum}


@contextlib.contextmanager
def scratch_file() -> Iterator[Path]:
    """A file that is rewritten for each execution, in memory where the system has such a folder."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder) / "input"


def text_seeds() -> Iterator[bytes]:
    """Recorded prototxts, short ones whole and long ones by their beginning and each of their layers."""
    for path in sorted(GOLDEN.rglob("*.prototxt")):
        text = path.read_text()
        if len(text) <= SEED_BYTES:
            yield text.encode()
            continue
        head, *layers = text.replace("\nlayers {", "\nlayer {").split("\nlayer {")
        keyword = "layers" if "\nlayers {" in text else "layer"
        yield from (f"{head}\n{keyword} {{{layer}".encode() for layer in layers[:40])


def binary_seeds() -> Iterator[bytes]:
    """Recorded models and a mean, long ones by their beginning; and the spellings of a blob that no recording has."""
    for path in sorted([*GOLDEN.rglob("*.caffemodel"), *GOLDEN.rglob("*.binaryproto")]):
        yield path.read_bytes()[:SEED_BYTES]
    state = schema.message("v2", "SolverState")(iter=3, learned_net="a.caffemodel", current_step=1)
    state.history.add(data=[1, 2], shape={"dim": [2]})
    yield state.SerializeToString()
    for fields in (
        {"double_data": [1.0, 2.0]},
        {"diff": [1.0], "data": [3.0, 4.0]},
        {"num": 1, "width": 2, "data": [1.0]},
    ):
        net = schema.message("bvlc", "NetParameter")()
        net.layer.add(name="c").blobs.add(shape={"dim": [2]}, **fields)
        yield net.SerializeToString()
    unpacked = b"".join(b"\x2d" + np.float32(value).tobytes() for value in range(4))
    yield encode(100, encode(1, b"c"), encode(7, unpacked))


def encode(number: int, *payload: bytes) -> bytes:
    """A length-delimited field."""
    return b"".join(map(bytes, encode_bytes(number, *payload)))


def hdf5_seeds() -> Iterator[bytes]:
    """The smallest files: models with and without empty groups, and a solver state."""
    import h5py

    blob = np.arange(4, dtype=np.float32)
    for members in (
        {"data/c/0": blob, "data/c/1": blob[:1]},
        {"data/c/0": blob, "data/a/b/0": blob},
        {"iter": np.int32(3), "current_step": np.int32(1), "learned_net": np.bytes_("a"), "history/0": blob},
    ):
        for version in ("earliest", "latest"):
            stream = io.BytesIO()
            with h5py.File(stream, "w", libver=version) as file:
                for name, value in members.items():
                    file[name] = value
                if "data" in file:
                    file.create_group("data/empty")
            yield stream.getvalue()


def datum_seeds() -> Iterator[bytes]:
    """Records of every kind, floats packed and not, and one after another."""
    record = schema.message("bvlc", "Datum")
    shape = {"channels": 2, "height": 2, "width": 3, "label": -7}
    yield record(**shape, data=bytes(range(12))).SerializeToString()
    yield record(**shape, float_data=list(range(12))).SerializeToString()
    yield record(**shape).SerializeToString() + encode(6, np.arange(12, dtype="<f4").tobytes())
    yield record(encoded=True, data=b"\x89PNG no picture", label=2**31 - 1).SerializeToString()
    yield record(channels=1, height=1, width=1, data=b"a").SerializeToString() * 2


SEEDS = {"text": text_seeds, "binary": binary_seeds, "hdf5": hdf5_seeds, "datum": datum_seeds}


def text_words() -> Iterator[str]:
    """Types, fields and enum values of prototxts, for mutations that make sense."""
    yield from (f'type: "{row.name}"' for row in layer_types())
    yield from (f"type: {row.v1}" for row in layer_types() if row.v1)
    waiting, seen = [schema.message("text", "NetParameter").DESCRIPTOR], set()
    while waiting:
        message = waiting.pop()
        for field in message.fields:
            yield f" {field.name} {{ }}" if field.message_type is not None else f" {field.name}: "
            if field.enum_type is not None:
                yield from (f" {field.name}: {value.name}" for value in field.enum_type.values)
            if field.message_type is not None and field.message_type.name not in seen:
                seen.add(field.message_type.name)
                waiting.append(field.message_type)
