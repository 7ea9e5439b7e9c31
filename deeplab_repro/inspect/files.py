"""Files of Caffe's and of this project, told apart by what they hold, and summarised. No torch but for checkpoints."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deeplab_repro.inspect.fields import Shape
from deeplab_repro.inspect.net import NetReport, inspect_net, read_template
from prototxt_import import NetSpec, SolverSpec, read_mean, read_solver, read_solverstate, read_weights
from prototxt_import.binary.hdf5 import is_hdf5, member, opened
from prototxt_import.binary.weights import read_model
from prototxt_import.binary.wire import BYTES, FIXED32, VARINT, Wire
from prototxt_import.prototxt.text import MAX_BYTES

NET, WEIGHTS, CHECKPOINT, SOLVER, MEAN, STATE = "net", "weights", "checkpoint", "solver", "mean", "solverstate"

# A solver says how to train; a net never has a field of these names at its top.
_SOLVER_FIELD = re.compile(
    r"\b(net|train_net|test_net|net_param|train_net_param|base_lr|lr_policy|max_iter|solver_mode|solver_type|snapshot"
    r"|test_iter|weight_decay)\s*[:{]"
)
_NOISE = re.compile(r"""#[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""")
# What text never holds, and the first bytes of a message soon do.
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")
_FIRST_FIELDS = 64


@dataclass(frozen=True)
class WeightsReport:
    """A weight file.

    Args:
        source: The file.
        name: The net's name in it.
        dialect: By its contents; "" for HDF5.
        evidence: What told the dialect.
        layers: Shapes of each layer's blobs.
        parameters: Numbers in all blobs.
        size: Of the file, in bytes.
        dtypes: Of the blobs.
        bad: Layers that hold NaN or infinite numbers.

    Example:
        >>> import numpy as np
        >>> from deeplab_repro import inspect
        >>> from prototxt_import import write_weights
        >>> write_weights({"fc": [np.ones((2, 3))]}, None, "m.caffemodel")
        >>> inspect.inspect_weights("m.caffemodel").parameters
        6
    """

    source: str
    name: str
    dialect: str
    evidence: str
    layers: dict[str, tuple[Shape, ...]]
    parameters: int
    size: int
    dtypes: tuple[str, ...]
    bad: tuple[str, ...]


@dataclass(frozen=True)
class SolverReport:
    """A solver file.

    Args:
        source: The file.
        type: Its type.
        fields: Every field that is not at its default.

    Example:
        >>> from pathlib import Path
        >>> from deeplab_repro import inspect
        >>> _ = Path("s.prototxt").write_text("base_lr: 0.5")
        >>> inspect.read_file("s.prototxt").report.fields
        {'base_lr': 0.5}
    """

    source: str
    type: str
    fields: dict[str, Any]


@dataclass(frozen=True)
class MeanReport:
    """A mean file.

    Args:
        source: The file.
        shape: Its shape.
        channels: The mean of each channel: what a mean_value would hold.
        low: The least number.
        high: The largest number.

    Example:
        >>> from deeplab_repro import inspect
        >>> inspect.MeanReport("mean.binaryproto", (1, 3, 256, 256), (104.0, 117.0, 123.0), 60.0, 180.0).high
        180.0
    """

    source: str
    shape: Shape
    channels: tuple[float, ...]
    low: float
    high: float


@dataclass(frozen=True)
class StateReport:
    """A solver's snapshot.

    Args:
        source: The file.
        iter: Updates done.
        current_step: Steps of the learning rate.
        learned_net: The model it belongs to.
        history: Its history's shapes.

    Example:
        >>> import numpy as np
        >>> from deeplab_repro import inspect
        >>> from prototxt_import import SolverState, write_solverstate
        >>> write_solverstate(SolverState(7, "m.caffemodel", 0, (np.zeros((2, 3)),)), "s.solverstate")
        >>> inspect.read_file("s.solverstate").report.history
        ((2, 3),)
    """

    source: str
    iter: int
    current_step: int
    learned_net: str
    history: tuple[Shape, ...]


Report = NetReport | WeightsReport | SolverReport | MeanReport | StateReport


@dataclass(frozen=True)
class Content:
    """A file that was read.

    Args:
        kind: Its kind, as `file_kind` tells it.
        report: The report on it.
        content: A NetSpec for nets and checkpoints (weights included), a SolverSpec, a mapping of layers to blobs for
            weights, an array for means, the reader's record for solver states.

    Example:
        >>> from pathlib import Path
        >>> from deeplab_repro import inspect
        >>> _ = Path("s.prototxt").write_text("base_lr: 0.5")
        >>> inspect.read_file("s.prototxt").kind
        'solver'
    """

    kind: str
    report: Report
    content: Any

    def facts(self) -> dict[str, Any]:
        """The report as JSON has it.

        Returns:
            The kind and the report's fields; of a receptive field its size, stride and offset.
        """
        facts = {"kind": self.kind, **dataclasses.asdict(self.report)}
        if isinstance(self.report, NetReport):
            facts["field"] = self.report.field and self.report.field.facts()
            for row, layer in zip(facts["layers"], self.report.layers, strict=True):
                row["field"] = layer.field and layer.field.facts()
        return facts


def file_kind(path: str | os.PathLike[str]) -> str:
    """The kind of a file by its contents, whatever its name.

    Args:
        path: The file.

    Returns:
        NET, WEIGHTS, CHECKPOINT, SOLVER, MEAN or STATE.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is none of these.

    Example:
        >>> from pathlib import Path
        >>> from deeplab_repro import inspect
        >>> _ = Path("net.txt").write_text('layer { name: "r" type: "ReLU" bottom: "x" top: "y" }')
        >>> inspect.file_kind("net.txt")
        'net'
    """
    with open(path, "rb") as stream:
        head = stream.read(1 << 16)
    if not head:
        raise ValueError(f"{path}: the file is empty")
    if is_hdf5(path):
        return _hdf5_kind(path)
    if len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 30:
        return CHECKPOINT
    return _binary_kind(path) if _CONTROL.search(head) else _text_kind(path)


def _hdf5_kind(path: str | os.PathLike[str]) -> str:
    with opened(str(path)) as file:
        names = list(file)
        if {"history", "iter"} <= set(names):
            return STATE
        if "data" in names and hasattr(member(file, "data", str(path)), "keys"):
            return WEIGHTS
    held = ", ".join(names[:8]) + (", ..." if names[8:] else "")
    raise ValueError(f"{path}: an HDF5 file that is neither a model nor a solver state; it holds {held or 'nothing'}")


def _text_kind(path: str | os.PathLike[str]) -> str:
    """SOLVER where a solver's field stands at the top, else NET, whose reader tells what is wrong."""
    with open(path, encoding="utf-8", errors="replace") as stream:
        text = _NOISE.sub('""', stream.read(MAX_BYTES))
    if re.search(r"\b[A-Za-z_]\w*\s*[:{]", text) is None:
        raise ValueError(f"{path}: no Caffe file; text without any field")
    depth, top = 0, []
    for part in re.split(r"([{}])", text):
        if part == "{":
            top += ["{"] if depth == 0 else []
            depth += 1
        elif part == "}":
            depth -= 1
        elif depth == 0:
            top.append(part)
    return SOLVER if _SOLVER_FIELD.search("".join(top)) else NET


def _binary_kind(path: str | os.PathLike[str]) -> str:
    """By which fields of which wire type come first: the messages of a Caffe file do not share a beginning."""
    first = set()
    for number, field in enumerate(Wire(path).fields()):
        first.add((field.number, field.kind))
        if number >= _FIRST_FIELDS:
            break
    if (100, BYTES) in first or (1, BYTES) in first:
        return WEIGHTS
    if (3, BYTES) in first and first & {(1, VARINT), (4, VARINT), (2, BYTES)}:
        return STATE
    if first & {(5, BYTES), (5, FIXED32), (8, BYTES), (7, BYTES)}:
        return MEAN
    return WEIGHTS  # whose reader tells what is wrong


def read_file(
    path: str | os.PathLike[str],
    phase: str = "TEST",
    variables: Mapping[str, str] | None = None,
    dialect: str = "auto",
    level: int = 0,
    stages: Sequence[str] = (),
) -> Content:
    """Read and summarise any of the files `file_kind` knows; a net in the dialect and state asked for.

    Args:
        path: The file.
        phase: Of a net: "TRAIN" or "TEST".
        variables: Values of the ${NAME}s in a net or solver.
        dialect: Of a net, as for `prototxt_import.read_net`; so are level and stages.
        level: The state's level.
        stages: The state's stages.

    Returns:
        Its kind, a report and what it holds.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is wrong (CaffeFormatError) or of no kind known; one line that names it.

    Example:
        >>> from pathlib import Path
        >>> from deeplab_repro import inspect
        >>> text = 'input: "x" input_shape { dim: 1 } layer { name: "r" type: "ReLU" bottom: "x" top: "y" }'
        >>> _ = Path("net.prototxt").write_text(text)
        >>> inspect.read_file("net.prototxt").report.outputs
        ('y',)
    """
    kind = file_kind(path)
    if kind == NET:
        spec = read_template(path, phase, variables or {}, dialect, level, stages)
        return Content(kind, inspect_net(spec), spec)
    if kind == CHECKPOINT:
        spec = _checkpoint(path)
        return Content(kind, inspect_net(spec), spec)
    if kind == SOLVER:
        solver = read_solver(path, variables)
        return Content(kind, _solver_report(solver, path), solver)
    if kind == MEAN:
        mean = read_mean(path)
        return Content(kind, _mean_report(mean, path), mean)
    if kind == STATE:
        state = read_solverstate(path)
        shapes = tuple(tuple(np.shape(blob)) for blob in state.history)
        return Content(kind, StateReport(str(path), state.iter, state.current_step, state.learned_net, shapes), state)
    blobs = read_weights(path)
    return Content(kind, _weights_report(blobs, path), blobs)


def inspect_weights(path: str | os.PathLike[str]) -> WeightsReport:
    """Layers and blobs of a weight file.

    Args:
        path: The file.

    Returns:
        The report.

    Raises:
        CaffeFormatError: The file is no model.
        OSError: It cannot be read.

    Example:
        >>> import numpy as np
        >>> from deeplab_repro import inspect
        >>> from prototxt_import import write_weights
        >>> write_weights({"fc": [np.full((2, 3), np.nan)]}, None, "m.caffemodel")
        >>> inspect.inspect_weights("m.caffemodel").bad
        ('fc',)
    """
    return _weights_report(read_weights(path), path)


def _weights_report(blobs: Mapping[str, list[np.ndarray]], path: str | os.PathLike[str]) -> WeightsReport:
    stored = None if is_hdf5(path) else read_model(path)
    arrays = [blob for layer in blobs.values() for blob in layer]
    return WeightsReport(
        source=str(path),
        name=stored.name if stored else "",
        dialect=stored.dialect if stored else "",
        evidence=stored.evidence if stored else "",
        layers={name: tuple(blob.shape for blob in layer) for name, layer in blobs.items()},
        parameters=sum(math.prod(blob.shape) for blob in arrays),
        size=Path(path).stat().st_size,
        dtypes=tuple(sorted({str(blob.dtype) for blob in arrays})),
        bad=tuple(name for name, layer in blobs.items() if not all(np.isfinite(blob).all() for blob in layer)),
    )


def _solver_report(solver: SolverSpec, path: str | os.PathLike[str]) -> SolverReport:
    default = SolverSpec()
    fields = {
        attribute.name: getattr(solver, attribute.name)
        for attribute in dataclasses.fields(solver)
        if attribute.compare and getattr(solver, attribute.name) != getattr(default, attribute.name)
    }
    return SolverReport(str(path), solver.type, fields)


def _mean_report(mean: np.ndarray, path: str | os.PathLike[str]) -> MeanReport:
    planes = mean.reshape(-1, *mean.shape[-2:]) if mean.ndim >= 2 else mean.reshape(1, 1, -1)
    channels = tuple(float(value) for value in planes.mean(axis=(1, 2), dtype=np.float64))
    return MeanReport(str(path), mean.shape, channels, float(mean.min()), float(mean.max()))


def _checkpoint(path: str | os.PathLike[str]) -> NetSpec:
    from deeplab_repro.net.checkpoint import load_checkpoint

    net = load_checkpoint(path)
    weights = {name: [blob.detach().numpy() for blob in blobs] for name, blobs in net.params.items() if blobs}
    return dataclasses.replace(net.spec, weights=weights)
