"""Weights of one net into another, as the papers began their training: what fits is copied, fc6 and fc7 are thinned."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from prototxt_import import LayerSpec, NetSpec, read_weights
from prototxt_import.values import Array, Shape
from prototxt_import.wiring import bare_shape

# Layers that may be thinned: VGG-16's, and their copies in the branches of an ASPP net.
_THINNED = re.compile(r"(fc[67])(_\d+)?")

COPIED, THINNED, DRAWN = "copied", "thinned", "re-initialised"


@dataclass(frozen=True)
class Fate:
    """What became of a layer.

    Args:
        layer: The layer of the net.
        outcome: COPIED, THINNED or DRAWN.
        origin: The layer of the file.
        detail: How, or why not.
    """

    layer: str
    outcome: str
    origin: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Transplant:
    """What one net gives another.

    Args:
        weights: Of the layers that got any, by name.
        fates: Of every layer with parameters of its own, in the net's order.
        skipped: Layers of the source that went nowhere.
    """

    weights: Mapping[str, list[Array]]
    fates: tuple[Fate, ...]
    skipped: tuple[str, ...]


def initialise(spec: NetSpec, path: str | os.PathLike[str]) -> tuple[NetSpec, Transplant]:
    """Give a net what `transplant` takes from a model.

    Args:
        spec: The net.
        path: A .caffemodel or .caffemodel.h5.

    Returns:
        The net, whose missing_weights are to be drawn, and what was taken.

    Raises:
        CaffeFormatError: The file is no model.
        ValueError: Not one layer fits.
    """
    moved = transplant(spec, read_weights(os.fspath(path)))
    if not moved.weights:
        raise ValueError(
            f"{os.fspath(path)}: no layer of it fits {spec.name or 'the net'}; first of all, {_first(moved)}"
        )
    missing = tuple(fate.layer for fate in moved.fates if fate.outcome == DRAWN)
    return replace(spec, weights=moved.weights, missing_weights=missing, unused_weights=moved.skipped), moved


def _first(moved: Transplant) -> str:
    return next((f"{fate.layer}: {fate.detail}" for fate in moved.fates), "it has no parameters")


def transplant(spec: NetSpec, stored: Mapping[str, Sequence[Array]]) -> Transplant:
    """Take the weights that a net can begin with.

    A layer gets those of its own name where the shapes agree. fc6 and fc7, and fc6_1 and so on in every branch, are
    thinned where theirs are larger: 4096 filters to every fourth, 7x7 taps to the 4x4 at 0, 2, 4, 6 or the 3x3 at 0, 3,
    6; fully connected weights are the convolution's. Everything else is left to the fillers, as are score layers whose
    number of classes differs. A layer whose blobs all belong to another one has no fate of its own.

    Args:
        spec: The net.
        stored: Arrays by layer name, such as VGG-16's or ResNet-101's.

    Returns:
        What it takes.

    Source:
        Chen et al. 2015, section 3.2 ("simple decimation"); which filters the authors kept is not published.
    """
    weights: dict[str, list[Array]] = {}
    fates: list[Fate] = []
    owned: set[str] = set()
    used: set[str] = set()
    for layer in spec.layers:
        shapes = spec.param_shapes.get(layer.name, ())
        names = [param.name for param in layer.params]
        if not shapes or (all(names) and owned.issuperset(names)):
            continue
        owned.update(filter(None, names))
        origin, blobs = _origin(layer, stored)
        if not blobs:
            fates.append(Fate(layer.name, DRAWN, "", "the file has no such layer"))
            continue
        if len(blobs) != len(shapes):
            detail = f"{len(blobs)} blobs there, {len(shapes)} here"
        elif all(bare_shape(blob.shape) == bare_shape(shape) for blob, shape in zip(blobs, shapes, strict=True)):
            weights[layer.name] = [np.asarray(blob).reshape(shape) for blob, shape in zip(blobs, shapes, strict=True)]
            fates.append(Fate(layer.name, COPIED, origin))
            used.add(origin)
            continue
        else:
            thinned = _thinned(layer, blobs, shapes)
            if thinned is not None:
                weights[layer.name], outcome, detail = thinned
                fates.append(Fate(layer.name, outcome, origin, detail))
                used.add(origin)
                continue
            detail = f"shape {list(blobs[0].shape)} there, {list(shapes[0])} here"
        fates.append(Fate(layer.name, DRAWN, origin, detail))
    skipped = tuple(name for name, blobs in stored.items() if blobs and name not in used)
    return Transplant(weights, tuple(fates), skipped)


def _origin(layer: LayerSpec, stored: Mapping[str, Sequence[Array]]) -> tuple[str, Sequence[Array]]:
    if stored.get(layer.name):
        return layer.name, stored[layer.name]
    branch = _THINNED.fullmatch(layer.name)
    name = branch[1] if branch else layer.name
    return name, stored.get(name, ())


def _thinned(layer: LayerSpec, blobs: Sequence[Array], shapes: Sequence[Shape]) -> tuple[list[Array], str, str] | None:
    """A larger fc6 or fc7 brought to these shapes, what that took, and how; None where it does not fit."""
    if not _THINNED.fullmatch(layer.name) or len(shapes[0]) != 4:
        return None
    outputs, inputs, height, width = shapes[0]
    weight = _as_convolution(np.asarray(blobs[0]), inputs, first=layer.name.startswith("fc6"))
    if weight is None or any(have < want for have, want in zip(weight.shape, shapes[0], strict=True)):
        return None
    filters = spread(weight.shape[0], outputs)
    rows, columns = taps(weight.shape[2], height), taps(weight.shape[3], width)
    kept = weight[np.ix_(filters, spread(weight.shape[1], inputs), rows, columns)]
    thinned = [np.ascontiguousarray(kept)]
    thinned += [
        np.asarray(bias).reshape(-1)[filters].reshape(shape) for bias, shape in zip(blobs[1:], shapes[1:], strict=True)
    ]
    if weight.shape == shapes[0]:
        return thinned, COPIED, "fully connected weights as a convolution's"
    return thinned, THINNED, f"{' x '.join(map(str, weight.shape))} to {' x '.join(map(str, shapes[0]))}"


def _as_convolution(weight: Array, inputs: int, first: bool) -> Array | None:
    """A weight as (outputs, inputs, height, width); a fully connected one is unfolded, fc6's into a square of taps."""
    if weight.ndim == 4 and weight.shape[:2] != (1, 1):
        return weight
    if weight.ndim < 2:
        return None
    rows, columns = weight.shape[-2:]
    flat = weight.reshape(rows, columns)
    # Only the first fully connected layer reads maps; of VGG-16's 7x7.
    side = round((columns / inputs) ** 0.5) if first else 1
    channels = columns // (side * side) if side else 0
    return flat.reshape(rows, channels, side, side) if channels * side * side == columns else None


def spread(have: int, want: int) -> Array:
    """Choose filters at even distances from the first on: every fourth for 4096 and 1024.

    Args:
        have: How many there are.
        want: How many to keep.

    Returns:
        Their indices [want].
    """
    return np.arange(want) * have // want


def taps(have: int, want: int) -> Array:
    """Choose taps of a side from edge to edge: 0, 2, 4, 6 or 0, 3, 6 of seven; the middle one alone.

    Args:
        have: How many there are.
        want: How many to keep.

    Returns:
        Their indices [want].
    """
    if want == 1:
        return np.array([have // 2])
    return np.rint(np.linspace(0, have - 1, want)).astype(int)
