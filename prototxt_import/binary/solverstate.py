"""Snapshots of a solver: .solverstate (binary) and .solverstate.h5, read and written."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from prototxt_import.binary.hdf5 import NumberReader, holds, is_hdf5, member, opened
from prototxt_import.binary.model_writer import encode_blob
from prototxt_import.binary.weights import read_blob
from prototxt_import.binary.wire import VARINT, Wire, encode_bytes, encode_key, encode_varint
from prototxt_import.errors import complain
from prototxt_import.prototxt.writer import check_dialect, replace_file
from prototxt_import.values import Array

MAX_NAME = 4096
_ITER, _LEARNED_NET, _HISTORY, _CURRENT_STEP = 1, 2, 3, 4


@dataclass(frozen=True)
class SolverState:
    """What a solver continues from.

    Args:
        iter: Updates done.
        learned_net: Name of the model file beside it, as the solver's snapshot_prefix had it; nothing opens it here.
        current_step: Steps of the learning rate taken.
        history: One array per learnable parameter in the order of their first appearance in the net, for AdaDelta and
            Adam two such runs one behind the other.
        source: The file's name.

    Source:
        Caffe's SolverState (caffe.proto).

    Example:
        >>> import numpy as np
        >>> from prototxt_import import SolverState
        >>> SolverState(iter=2000, learned_net="iter_2000.caffemodel", current_step=1, history=(np.zeros(3),)).iter
        2000
    """

    iter: int
    learned_net: str
    current_step: int
    history: tuple[Array, ...] = dataclasses.field(compare=False)
    source: str = dataclasses.field(default="", compare=False)


def read_solverstate(path: str | os.PathLike[str]) -> SolverState:
    """Read a solver's snapshot, binary or HDF5.

    Args:
        path: A .solverstate or .solverstate.h5.

    Returns:
        The state, its arrays as in `read_weights`.

    Raises:
        CaffeFormatError: The file is something else; the message has its name and the place.

    Example:
        >>> import numpy as np
        >>> from prototxt_import import SolverState, read_solverstate, write_solverstate
        >>> write_solverstate(SolverState(2000, "m.caffemodel", 1, (np.zeros(3),)), "s.solverstate")
        >>> read_solverstate("s.solverstate").iter
        2000
    """
    return _read_hdf5(path) if is_hdf5(path) else _read_binary(path)


def write_solverstate(state: SolverState, path: str | os.PathLike[str], dialect: str = "v2") -> None:
    """Write a .solverstate, or where the name ends in .h5 an HDF5 one; history as float32, whole or not at all.

    Args:
        state: The state.
        path: The file.
        dialect: "v1" gives binary blobs four legacy dimensions, the others their own shape.

    Raises:
        CaffeFormatError: The dialect is unknown, or the file cannot be written.

    Source:
        Caffe's SGDSolver::SnapshotSolverStateToBinaryProto and -ToHDF5 (sgd_solver.cpp).

    Example:
        >>> from prototxt_import import SolverState, read_solverstate, write_solverstate
        >>> write_solverstate(SolverState(7, "m.caffemodel.h5", 0, ()), "s.solverstate.h5")
        >>> read_solverstate("s.solverstate.h5").learned_net
        'm.caffemodel.h5'
    """
    check_dialect(dialect)
    if str(path).endswith(".h5"):
        replace_file(path, lambda stream: _write_hdf5(state, stream, str(path)))
    else:
        replace_file(path, lambda stream: _write_binary(state, stream, dialect))


def _write_binary(state: SolverState, stream: BinaryIO, dialect: str) -> None:
    stream.write(encode_key(_ITER, VARINT) + encode_varint(state.iter))
    pieces = encode_bytes(_LEARNED_NET, state.learned_net.encode())
    for blob in state.history:
        pieces += encode_bytes(_HISTORY, *encode_blob(blob, dialect))
    for piece in pieces:
        stream.write(piece)
    stream.write(encode_key(_CURRENT_STEP, VARINT) + encode_varint(state.current_step))


def _write_hdf5(state: SolverState, stream: BinaryIO, source: str) -> None:
    try:
        import h5py
    except ImportError:
        raise complain("HDF5 states are written by h5py; `pip install h5py`", source=source) from None
    with h5py.File(stream, "w") as file:
        file["iter"] = np.array([state.iter], "<i4")
        file["current_step"] = np.array([state.current_step], "<i4")
        # Caffe reads a string of fixed length only.
        file["learned_net"] = np.bytes_(state.learned_net.encode())
        history = file.create_group("history")
        for index, blob in enumerate(state.history):
            history.create_dataset(str(index), data=np.asarray(blob, dtype="<f4"))


def _read_binary(path: str | os.PathLike[str]) -> SolverState:
    wire = Wire(path)
    numbers = {_ITER: 0, _CURRENT_STEP: 0}
    name = ""
    history = []
    for field in wire.fields():
        known = field.number in (*numbers, _LEARNED_NET, _HISTORY)
        if not known or (field.number in numbers) != (field.kind == VARINT):
            raise wire.error(field.at, f"field {field.number} is none of a solver state; is it a model?")
        if field.number in numbers:
            numbers[field.number] = wire.signed(field)
        elif field.number == _LEARNED_NET:
            name = wire.text(field)
        else:
            history.append(read_blob(wire, field))
    return _checked(SolverState(numbers[_ITER], name, numbers[_CURRENT_STEP], tuple(history), wire.source))


def _read_hdf5(path: str | os.PathLike[str]) -> SolverState:
    source = str(path)
    with opened(path) as file:
        reader = NumberReader(source)
        if not (holds(file, "iter") and holds(file, "history")):
            raise complain("has no iter and history; it is no solver state", source=source)
        group = member(file, "history", source)
        history = tuple(
            reader.numbers(member(group, str(index), source), f"history {index}") for index in range(len(group))
        )
        state = SolverState(
            _integer(file, "iter", reader), _name(file, source), _integer(file, "current_step", reader), history, source
        )
    return _checked(state)


def _name(file: Any, source: str) -> str:
    if not holds(file, "learned_net"):
        return ""
    data = member(file, "learned_net", source)
    if data.dtype.kind == "O":
        # They lie in a heap of their own; libhdf5 goes round in circles in a damaged one.
        raise complain("learned_net is a string of variable length; Caffe writes a fixed one", source=source)
    if data.size != 1 or data.dtype.kind != "S" or data.nbytes > MAX_NAME:
        raise complain("learned_net is no file name", source=source)
    return bytes(data[()]).decode("utf-8", "replace")


def _integer(file: Any, name: str, reader: NumberReader) -> int:
    if not holds(file, name):
        return 0
    value = reader.numbers(member(file, name, reader.source), name, "iu").reshape(-1)
    if value.size != 1:
        raise complain(f"{name} holds {value.size} numbers, not one", source=reader.source)
    return int(value[0])


def _checked(state: SolverState) -> SolverState:
    if state.iter < 0 or state.current_step < 0:
        raise complain(
            f"iter {state.iter} and current_step {state.current_step} must not be negative", source=state.source
        )
    return state
