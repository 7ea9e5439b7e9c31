"""Snapshots: Caffe's model and solver state, and beside them what Caffe forgets, in `<prefix>_iter_N.resume`."""

from __future__ import annotations

import base64
import glob
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deeplab_repro.export.caffe import net_arrays
from deeplab_repro.files.atomic import check_output_file, replacing, write_text
from deeplab_repro.net.network import CaffeNet
from prototxt_import import CaffeFormatError, NetSpec, SolverState, read_solverstate, write_solverstate, write_weights
from prototxt_import.binary.model_writer import check_weights
from prototxt_import.paths import named_file
from prototxt_import.prototxt.writer import lacking, nearest_dialect

_FORMATS = {"BINARYPROTO": "", "HDF5": ".h5"}
_STATE = re.compile(r"_iter_(\d+)\.solverstate(\.h5)?$")
_VERSION = 1


@dataclass(frozen=True)
class Snapshot:
    """The files of one snapshot.

    Args:
        model: Caffe's model.
        state: Caffe's solver state.
        resume: What Caffe forgets: the place in the data, generators, losses.
    """

    model: Path
    state: Path
    resume: Path


@dataclass(frozen=True)
class Saved:
    """A snapshot that was read.

    Args:
        state: The solver state.
        model: The model that belongs to it.
        extras: What the .resume beside them holds; None where there is none.
    """

    state: SolverState
    model: Path
    extras: Mapping[str, Any] | None


def snapshot_files(prefix: str, iteration: int, kind: str = "BINARYPROTO") -> Snapshot:
    """Name the files of a snapshot as Caffe does.

    Args:
        prefix: What their names begin with.
        iteration: The updates done.
        kind: The solver's snapshot_format, "BINARYPROTO" or "HDF5".

    Returns:
        The files.

    Raises:
        ValueError: The kind is another one.
    """
    if kind not in _FORMATS:
        raise ValueError(f"snapshot_format {kind!r} is unknown; known are {', '.join(_FORMATS)}")
    stem = f"{prefix}_iter_{iteration}"
    return Snapshot(
        Path(f"{stem}.caffemodel{_FORMATS[kind]}"), Path(f"{stem}.solverstate{_FORMATS[kind]}"), Path(f"{stem}.resume")
    )


def write_snapshot(files: Snapshot, net: CaffeNet, state: SolverState, extras: Mapping[str, Any]) -> None:
    """Write the three files; the solver state appears last, so that one that is there is complete.

    A layer that no fork beside the others has is kept by its name (`snapshot_notes`). Where it fails, whole files of an
    older snapshot may remain, never half ones.

    Args:
        files: The files.
        net: The net.
        state: The solver's state.
        extras: What the .resume is to hold; numbers, strings, lists, arrays and tensors by name.

    Raises:
        CaffeFormatError: No dialect has a place for a blob.
        OSError: A file cannot be written.
    """
    dialect = _dialect(net.spec)
    check_output_file(files.state)
    write_weights(net_arrays(net), net.spec, files.model, dialect, by_name=True)
    # Hidden until the .resume is there: a state without it would restart the data.
    with replacing(files.state) as hidden:
        write_solverstate(state, hidden, dialect)
        digests = {"model": _digest(files.model), "state": _digest(hidden)}
        text = json.dumps(_encode({"version": _VERSION, "iteration": state.iter, "digests": digests, **extras}))
        write_text(files.resume, text + "\n")


def _dialect(spec: NetSpec) -> str:
    """The dialect of a net's snapshots: its own, or DeepLab's later one where that or none has all its layers."""
    first = "v1" if spec.dialect in ("v0", "v1") else "v2" if spec.dialect in ("x2", "bvlc") else spec.dialect
    return nearest_dialect(spec, first) or ("v1" if first == "v1" else "v2")


# Layers that a note names; a net may have dozens of a kind.
TOLD = 4


def snapshot_notes(files: Snapshot, spec: NetSpec) -> list[str]:
    """Tell what a net's snapshots lose; raises what writing them would, before a night of training.

    Args:
        files: Where they will be written.
        spec: The net.

    Returns:
        Sentences.

    Raises:
        CaffeFormatError: No dialect has a place for a blob.
        OSError: The files cannot be written.
    """
    check_output_file(files.state)
    dialect = _dialect(spec)
    check_weights(spec, files.model, dialect, by_name=True)
    lost = lacking(spec, dialect)
    if not lost or files.model.suffix == ".h5":
        return []
    names = ", ".join(f"{layer.name} ({layer.type})" for layer in lost[:TOLD])
    names += f" and {len(lost) - TOLD} more" if len(lost) > TOLD else ""
    return [f"no Caffe fork has all layers of this net: snapshots, in dialect {dialect}, keep {names} by name alone"]


def read_snapshot(path: str | os.PathLike[str]) -> Saved:
    """Read a solver state, ours or Caffe's, with the model it names and the .resume beside it.

    The model is looked up beside the state, then as the state spells it.

    Args:
        path: The solver state.

    Returns:
        The snapshot; the model is named, not read.

    Raises:
        CaffeFormatError: A file is missing or damaged, or the .resume belongs to other files.
    """
    source = Path(path)
    state = read_solverstate(source)
    model = _model_of(state, source)
    resume = source.with_name(re.sub(r"\.solverstate(\.h5)?$", ".resume", source.name))
    if resume == source or not resume.is_file():
        return Saved(state, model, None)
    return Saved(state, model, _read_extras(resume, source, model, state))


def _model_of(state: SolverState, source: Path) -> Path:
    if not state.learned_net:
        raise CaffeFormatError(f"{source}: names no model (learned_net); give its .caffemodel with --weights")
    beside = source.with_name(state.learned_net.replace("\\", "/").rpartition("/")[2])
    return beside if beside.is_file() else named_file(state.learned_net, str(source))


def _read_extras(resume: Path, source: Path, model: Path, state: SolverState) -> Mapping[str, Any]:
    try:
        extras = _decode(json.loads(resume.read_text(encoding="ascii")))
        version, digests = extras["version"], extras["digests"]
    except (ValueError, KeyError, TypeError) as error:
        raise CaffeFormatError(f"{resume}: is no record of a training run: {error}") from error
    if version != _VERSION:
        raise CaffeFormatError(f"{resume}: has version {version}, this program knows {_VERSION}")
    if extras.get("iteration") != state.iter or digests != {"model": _digest(model), "state": _digest(source)}:
        raise CaffeFormatError(
            f"{resume}: belongs to other files than {source.name} and {model.name}; "
            "remove it to go on from these with the data restarted, as Caffe does"
        )
    return dict(extras)


def read_latest(prefix: str) -> tuple[Saved | None, list[str]]:
    """Read the snapshot of the most updates under a prefix that can be read.

    Args:
        prefix: What the files' names begin with.

    Returns:
        The snapshot, None where there is none at all, and a sentence for each that cannot be read.

    Raises:
        CaffeFormatError: None of those there can be read.
    """
    failed: list[str] = []
    for path in snapshots(prefix):
        try:
            return read_snapshot(path), failed
        except (CaffeFormatError, OSError) as error:
            failed.append(f"{path} is passed over: {error}")
    if failed:
        raise CaffeFormatError(f"{prefix}: no snapshot of it can be read; {'; '.join(failed)}")
    return None, []


def latest_snapshot(prefix: str) -> Path | None:
    """Find the solver state of the most updates under a prefix.

    Args:
        prefix: What the files' names begin with.

    Returns:
        Its file; None where there is none.
    """
    return next(iter(snapshots(prefix)), None)


def snapshots(prefix: str) -> list[Path]:
    """Find the solver states under a prefix.

    Args:
        prefix: What the files' names begin with.

    Returns:
        Their files, the one of the most updates first.
    """
    states = []
    base = Path(prefix)
    if base.parent.is_dir():
        for path in base.parent.glob(f"{glob.escape(base.name)}_iter_*.solverstate*"):
            match = _STATE.search(path.name)
            if match and path.name[: match.start()] == base.name:
                states.append((int(match.group(1)), path))
    return [path for _, path in sorted(states, reverse=True)]


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "blake2b").hexdigest()[:32]


def _encode(value: Any) -> Any:
    """JSON's own types, with arrays and tensors as {"array": dtype, "shape": ..., "data": base64}."""
    if isinstance(value, Mapping):
        return {str(key): _encode(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(inner) for inner in value]
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode("ascii")
        return {"array": value.dtype.str, "shape": list(value.shape), "data": data}
    return value


def _decode(value: Any) -> Any:
    if isinstance(value, dict) and value.keys() == {"array", "shape", "data"}:
        dtype = np.dtype(value["array"])
        if dtype.hasobject:
            raise ValueError("an array of objects")
        return np.frombuffer(base64.b64decode(value["data"]), dtype).reshape(value["shape"]).copy()
    if isinstance(value, dict):
        return {key: _decode(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_decode(inner) for inner in value]
    return value
