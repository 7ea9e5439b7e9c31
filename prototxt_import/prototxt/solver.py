"""Solver files as frozen records."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import text_format

from prototxt_import.errors import complain
from prototxt_import.layers.messages import plain
from prototxt_import.prototxt.text import load, parse, scan

_TYPES = {
    "SGD": "SGD",
    "NESTEROV": "Nesterov",
    "ADAGRAD": "AdaGrad",
    "RMSPROP": "RMSProp",
    "ADADELTA": "AdaDelta",
    "ADAM": "Adam",
}

_INLINE = ("net_param", "train_net_param", "test_net_param")


@dataclass(frozen=True)
class NetState:
    """The state in which a solver builds a net, on top of its phase.

    Args:
        level: The level that min_level and max_level rules are held against.
        stages: The stages that stage and not_stage rules are held against.

    Source:
        Caffe's NetState (caffe.proto).
    """

    level: int = 0
    stages: tuple[str, ...] = ()


@dataclass(frozen=True)
class InlineNet:
    """A net that stands in the solver file itself: its text."""

    text: str


@dataclass(frozen=True)
class SolverSpec:
    """A solver file, every value resolved; two spellings of one solver are equal.

    Attributes of the same name as a field of the file mean what they mean there; those that need a word follow.

    Attributes:
        type: The new name ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam") also where the file has the old
            enum.
        net: File name as written, "" where absent; so is `train_net`.
        net_param: A net that stands in the file itself; so are `train_net_param` and `test_net_param`.
        rms_decay: None where the file is silent, since the dialects disagree (0 in v2, 0.99 in x2 and BVLC).
        source: The file's name.

    Source:
        Caffe's SolverParameter (caffe.proto).

    Example:
        >>> from prototxt_import import SolverSpec
        >>> SolverSpec(base_lr=0.001, lr_policy="poly", power=0.9, max_iter=20000).momentum
        0.0
    """

    net: str = ""
    train_net: str = ""
    test_net: tuple[str, ...] = ()
    net_param: InlineNet | None = None
    train_net_param: InlineNet | None = None
    test_net_param: tuple[InlineNet, ...] = ()
    test_iter: tuple[int, ...] = ()
    test_interval: int = 0
    test_initialization: bool = True
    test_compute_loss: bool = False
    train_state: NetState = NetState()
    test_state: tuple[NetState, ...] = ()
    base_lr: float = 0.0
    lr_policy: str = ""
    gamma: float = 0.0
    power: float = 0.0
    stepsize: int = 0
    stepvalue: tuple[int, ...] = ()
    max_iter: int = 0
    iter_size: int = 1
    display: int = 0
    average_loss: int = 1
    momentum: float = 0.0
    momentum2: float = 0.999
    rms_decay: float | None = None
    delta: float = 1e-8
    weight_decay: float = 0.0
    regularization_type: str = "L2"
    clip_gradients: float = -1.0
    snapshot: int = 0
    snapshot_prefix: str = ""
    snapshot_diff: bool = False
    snapshot_format: str = "BINARYPROTO"
    snapshot_after_train: bool = True
    solver_mode: str = "GPU"
    device_id: int = 0
    random_seed: int = -1
    debug_info: bool = False
    type: str = "SGD"
    weights: tuple[str, ...] = ()
    source: str = dataclasses.field(default="", compare=False)


def read_solver(path: str | os.PathLike[str], variables: Mapping[str, str] | None = None) -> SolverSpec:
    """Read a solver prototxt.

    Args:
        path: The file.
        variables: Values of its ${NAME} placeholders.

    Returns:
        The solver.

    Raises:
        CaffeFormatError: The file is wrong; the message has line and remedy.

    Source:
        Caffe's UpgradeSolverAsNeeded (util/upgrade_proto.cpp).

    Example:
        >>> from pathlib import Path
        >>> from prototxt_import import read_solver
        >>> _ = Path("solver.prototxt").write_text('net: "n.prototxt" lr_policy: "fixed" solver_type: ADAGRAD')
        >>> read_solver("solver.prototxt").type
        'AdaGrad'
    """
    source = str(path)
    text = load(path, variables)
    message = parse(text, "SolverParameter", source, scan(text, source))
    taken = {
        fact.name: plain(message, fact.name)
        for fact in dataclasses.fields(SolverSpec)
        if fact.name not in ("source", "type", "rms_decay", "train_state", "test_state", *_INLINE)
    }
    return SolverSpec(
        **taken,
        type=_type(message, source),
        rms_decay=plain(message, "rms_decay") if message.HasField("rms_decay") else None,
        net_param=_inline(message.net_param) if message.HasField("net_param") else None,
        train_net_param=_inline(message.train_net_param) if message.HasField("train_net_param") else None,
        test_net_param=tuple(map(_inline, message.test_net_param)),
        train_state=_state(message.train_state),
        test_state=tuple(_state(state) for state in message.test_state),
        source=source,
    )


def _type(message: Any, source: str) -> str:
    if message.HasField("solver_type"):
        if message.HasField("type"):
            raise complain("gives both type and the older solver_type; one of them is enough", source=source)
        return _TYPES[plain(message, "solver_type")]
    if message.type not in _TYPES.values():
        raise complain(f"unknown solver type {message.type!r}; known are {', '.join(_TYPES.values())}", source=source)
    return str(message.type)


def _inline(message: Any) -> InlineNet:
    return InlineNet(text_format.MessageToString(message, as_utf8=True))


def _state(message: Any) -> NetState:
    return NetState(message.level, tuple(message.stage))
