"""What differs between two files of one kind."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deeplab_repro.inspect.files import CHECKPOINT, MEAN, NET, SOLVER, STATE, WEIGHTS, Content
from prototxt_import import LayerSpec, NetSpec, SolverState
from prototxt_import.wiring import bare_shape


@dataclass(frozen=True)
class Change:
    """One thing that differs between two files.

    Args:
        place: A layer, blob, or the file as a whole.
        what: Its field, or "blob 0".
        first: The first file's value, None where it has no such thing.
        second: The second file's value, None where it has no such thing.
        max_abs: The largest difference between two arrays of one shape.

    Example:
        >>> from deeplab_repro import inspect
        >>> inspect.Change("conv1", "blob 0", 1.0, 1.5, max_abs=0.5).what
        'blob 0'
    """

    place: str
    what: str
    first: Any
    second: Any
    max_abs: float | None = None


def comparable(first: Content, second: Content) -> bool:
    """Whether two files are of one kind; a net and a checkpoint are, by their nets.

    Args:
        first: A file.
        second: Another.

    Returns:
        The answer.

    Example:
        >>> from pathlib import Path
        >>> from deeplab_repro import inspect
        >>> _ = Path("s.prototxt").write_text("base_lr: 1")
        >>> solver = inspect.read_file("s.prototxt")
        >>> inspect.comparable(solver, solver)
        True
    """
    nets = {NET, CHECKPOINT}
    return first.kind == second.kind or {first.kind, second.kind} <= nets


def compare(first: Content, second: Content) -> list[Change]:
    """Everything that differs between two files.

    Dialect, layout and line numbers do not count: the old and the new spelling of one net are equal, and so are blobs
    whose shapes differ in leading ones.

    Args:
        first: A file.
        second: Another of the same kind.

    Returns:
        The changes in the order of the first file; none for equal contents.

    Raises:
        ValueError: The files are of two kinds.

    Example:
        >>> from pathlib import Path
        >>> from deeplab_repro import inspect
        >>> files = [Path(f"{rate}.prototxt") for rate in (1, 2)]
        >>> _ = [file.write_text(f"base_lr: {file.stem}") for file in files]
        >>> [(change.what, change.first, change.second) for change in inspect.compare(*map(inspect.read_file, files))]
        [('base_lr', 1.0, 2.0)]
    """
    if not comparable(first, second):
        raise ValueError(f"{first.report.source} is a {first.kind}, {second.report.source} a {second.kind}")
    a, b = first.content, second.content
    if first.kind == second.kind == CHECKPOINT:
        return [*_nets(a, b), *_weights(a.weights, b.weights)]
    if first.kind in (NET, CHECKPOINT):
        return list(_nets(a, b))
    if first.kind == WEIGHTS:
        return list(_weights(a, b))
    if first.kind == MEAN:
        return list(_arrays("mean", "values", a, b))
    if first.kind == STATE:
        return list(_states(a, b))
    assert first.kind == SOLVER
    return list(_records("solver", "", a, b))


def _records(place: str, prefix: str, a: Any, b: Any) -> Iterator[Change]:
    """Fields of two dataclasses of one type that differ, nested ones by their path."""
    for attribute in dataclasses.fields(a):
        if not attribute.compare:
            continue
        first, second = getattr(a, attribute.name), getattr(b, attribute.name)
        if first == second:
            continue
        if dataclasses.is_dataclass(first) and type(first) is type(second):
            yield from _records(place, f"{prefix}{attribute.name}.", first, second)
        else:
            yield Change(place, prefix + attribute.name, first, second)


def _nets(a: NetSpec, b: NetSpec) -> Iterator[Change]:
    for name in ("name", "phase", "level", "stages", "force_backward"):
        if getattr(a, name) != getattr(b, name):
            yield Change("net", name, getattr(a, name), getattr(b, name))
    yield from _mappings("input", "shape", a.inputs, b.inputs)
    ours, theirs = ({layer.name: layer for layer in spec.layers} for spec in (a, b))
    for name, layer in ours.items():
        if name in theirs:
            yield from _layers(layer, theirs[name], a, b)
        else:
            yield Change(name, "layer", layer.type, None)
    for name, layer in theirs.items():
        if name not in ours:
            yield Change(name, "layer", None, layer.type)
    common = [name for name in ours if name in theirs], [name for name in theirs if name in ours]
    if common[0] != common[1]:
        moved = next(names for names in zip(*common, strict=True) if names[0] != names[1])
        yield Change("net", "order of layers from", *moved)
    if a.outputs != b.outputs:
        yield Change("net", "outputs", a.outputs, b.outputs)


def _layers(a: LayerSpec, b: LayerSpec, in_a: NetSpec, in_b: NetSpec) -> Iterator[Change]:
    for name in ("type", "bottoms", "tops", "loss_weights", "propagate_down"):
        if getattr(a, name) != getattr(b, name):
            yield Change(a.name, name, getattr(a, name), getattr(b, name))
    if a.type == b.type:
        yield from _records(a.name, "", a.options, b.options)
    for index in range(max(len(a.params), len(b.params))):
        first, second = (params[index] if index < len(params) else None for params in (a.params, b.params))
        if first is not None and second is not None:
            yield from _records(a.name, f"param {index} ", first, second)
        else:
            yield Change(a.name, f"param {index}", first, second)
    shapes = [spec.param_shapes.get(a.name, ()) for spec in (in_a, in_b)]
    for index, (shape_a, shape_b) in enumerate(zip(*shapes, strict=False)):
        if shape_a != shape_b:
            yield Change(a.name, f"shape of param {index}", shape_a, shape_b)
    for top in a.tops:
        blob_a, blob_b = in_a.blobs.get(top), in_b.blobs.get(top)
        in_place = top in a.bottoms and top in b.bottoms  # told already, by the layer that made it
        if top in b.tops and blob_a != blob_b and not in_place:
            yield Change(a.name, f"shape of {top}", blob_a, blob_b)


def _mappings(place: str, aspect: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Change]:
    for name in dict.fromkeys((*a, *b)):
        if a.get(name) != b.get(name):
            yield Change(f"{place} {name}", aspect, a.get(name), b.get(name))


def _weights(a: Mapping[str, Sequence[np.ndarray]], b: Mapping[str, Sequence[np.ndarray]]) -> Iterator[Change]:
    for name in dict.fromkeys((*a, *b)):
        if name not in a or name not in b:
            was, now = ([tuple(blob.shape) for blob in side[name]] if name in side else None for side in (a, b))
            yield Change(name, "layer", was, now)
            continue
        if len(a[name]) != len(b[name]):
            yield Change(name, "number of blobs", len(a[name]), len(b[name]))
        for index, (blob_a, blob_b) in enumerate(zip(a[name], b[name], strict=False)):
            yield from _arrays(name, f"blob {index}", blob_a, blob_b)


def _arrays(place: str, aspect: str, a: np.ndarray, b: np.ndarray) -> Iterator[Change]:
    shape_a, shape_b = bare_shape(a.shape), bare_shape(b.shape)
    if shape_a != shape_b:
        yield Change(place, f"shape of {aspect}", tuple(a.shape), tuple(b.shape))
        return
    if np.array_equal(a.reshape(shape_a), b.reshape(shape_b), equal_nan=True):
        return
    x, y = a.reshape(-1).astype(np.float64), b.reshape(-1).astype(np.float64)
    with np.errstate(invalid="ignore"):
        gap = np.where((x == y) | (np.isnan(x) & np.isnan(y)), 0.0, np.abs(x - y))
    gap = np.where(np.isnan(gap), np.inf, gap)
    worst = int(gap.argmax())
    yield Change(place, aspect, float(x[worst]), float(y[worst]), float(gap[worst]))


def _states(a: SolverState, b: SolverState) -> Iterator[Change]:
    for name in ("iter", "current_step", "learned_net"):
        if getattr(a, name) != getattr(b, name):
            yield Change("solver state", name, getattr(a, name), getattr(b, name))
    if len(a.history) != len(b.history):
        yield Change("solver state", "number of history blobs", len(a.history), len(b.history))
    for index, (blob_a, blob_b) in enumerate(zip(a.history, b.history, strict=False)):
        yield from _arrays("history", f"blob {index}", blob_a, blob_b)
