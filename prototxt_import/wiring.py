"""The rules between layers: who feeds whom, which shapes follow, which parameters are shared."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prototxt_import.errors import CaffeFormatError, complain, nearest
from prototxt_import.layers.shapes import MAX_COUNT, count
from prototxt_import.layers.table import LayerType, lookup
from prototxt_import.values import LayerSpec, ParamSpec, Shape


def problem(layer: LayerSpec, source: str, fault: object) -> CaffeFormatError:
    """An error about a layer of a net.

    Args:
        layer: The layer.
        source: The net's file.
        fault: What is wrong, and what to do.

    Returns:
        The error, to be raised.
    """
    return complain(str(fault), source=source, line=layer.line, layer=layer.name, type_name=layer.type)


@dataclass
class Wiring:
    """What inference finds out about a net; shapes are None where only data can tell."""

    blobs: dict[str, Shape | None]
    param_shapes: dict[str, tuple[Shape, ...]]
    outputs: tuple[str, ...]


def check_shape(shape: Sequence[int]) -> Shape:
    """Check that a blob can have a shape.

    Args:
        shape: The shape.

    Returns:
        The shape as tuple.

    Raises:
        ValueError: A side is negative, or there are more elements than Caffe can count.
    """
    if any(side < 0 for side in shape):
        raise ValueError(f"shape {list(shape)} has a negative side")
    if count(max(side, 1) for side in shape) > MAX_COUNT:
        raise ValueError(f"shape {list(shape)} has more than {MAX_COUNT} elements")
    return tuple(int(side) for side in shape)


def numbered(layers: Sequence[LayerSpec]) -> tuple[LayerSpec, ...]:
    """Give layers names of their own: where one repeats, Caffe gives stored blobs to the first layer of that name.

    Args:
        layers: The net's layers.

    Returns:
        The layers; the later ones of a name are `name#2`, `name#3`, ...
    """
    own = {layer.name for layer in layers}
    seen: dict[str, int] = {}
    result = []
    for layer in layers:
        name, number = layer.name, seen.get(layer.name, 0) + 1
        while number > 1 and (name := f"{layer.name}#{number}") in own:
            number += 1
        seen[layer.name] = number
        own.add(name)
        result.append(layer if name == layer.name else dataclasses.replace(layer, name=name))
    return tuple(result)


def infer(inputs: Mapping[str, Shape], layers: Sequence[LayerSpec], source: str, given: Mapping[str, Shape]) -> Wiring:
    """Walk a net in file order: every bottom must exist, every top be new or in place, every shape fit.

    Args:
        inputs: Shapes of the inputs.
        layers: The layers.
        source: The net's file, for errors.
        given: Shapes of data layers' tops that are known otherwise.

    Returns:
        What follows.

    Raises:
        CaffeFormatError: A layer does not fit; the message names it.
    """
    wiring = Wiring({}, {}, ())
    loose: dict[str, None] = {}
    for name, shape in inputs.items():
        try:
            wiring.blobs[name] = check_shape(shape)
        except ValueError as error:
            raise complain(f"input {name!r}: {error}", source=source) from None
        loose[name] = None
    for layer in layers:
        row = lookup(layer.type)
        if row is None:
            raise problem(layer, source, "unknown layer type")
        _check_counts(layer, row, source)
        for bottom in layer.bottoms:
            if bottom not in wiring.blobs:
                raise problem(layer, source, _no_such_blob(bottom, wiring, layers))
            loose.pop(bottom, None)
        bottoms = [wiring.blobs[bottom] for bottom in layer.bottoms]
        try:
            tops = _tops(layer, bottoms, given)
            if layer.options.blob_count(len(bottoms)) and None not in bottoms:
                shapes = layer.options.params([shape for shape in bottoms if shape is not None])
                wiring.param_shapes[layer.name] = tuple(map(check_shape, shapes))
        except ValueError as error:
            raise problem(layer, source, error) from None
        for index, top in enumerate(layer.tops):
            in_place = index < len(layer.bottoms) and layer.bottoms[index] == top
            if top in wiring.blobs and not in_place:
                raise problem(layer, source, f"top {top!r} exists already; only a layer's own bottom may be reused")
            wiring.blobs[top] = tops[index]
            loose[top] = None
    wiring.outputs = tuple(loose)
    return wiring


def _tops(layer: LayerSpec, bottoms: Sequence[Shape | None], given: Mapping[str, Shape]) -> Sequence[Shape | None]:
    known = [shape for shape in bottoms if shape is not None]
    try:
        shapes = layer.options.shapes(known, len(layer.tops)) if len(known) == len(bottoms) else None
    except (IndexError, ZeroDivisionError):
        listed = " and ".join(f"{len(shape)} axes {list(shape)}" for shape in known)
        raise ValueError(f"cannot take bottoms of {listed}") from None
    if shapes is None:
        tops: list[Shape | None] = [None] * len(layer.tops)
    elif len(shapes) < len(layer.tops):
        raise ValueError(f"has {len(layer.tops)} tops; it makes {len(shapes)}")
    else:
        tops = [check_shape(shape) for shape in shapes[: len(layer.tops)]]
    if not layer.bottoms:
        tops = [check_shape(given[top]) if top in given else tops[i] for i, top in enumerate(layer.tops)]
    return tops


def _check_counts(layer: LayerSpec, row: LayerType, source: str) -> None:
    for kind, names, (least, most) in (("bottom", layer.bottoms, row.bottoms), ("top", layer.tops, row.tops)):
        if len(names) < least or (most is not None and len(names) > most):
            wanted = f"{least}" if least == most else f"at least {least}" if most is None else f"{least} to {most}"
            raise problem(layer, source, f"has {len(names)} {kind}s; it takes {wanted}")


def _no_such_blob(bottom: str, wiring: Wiring, layers: Sequence[LayerSpec]) -> str:
    makers = [layer.name for layer in layers if bottom in layer.tops]
    if makers:
        return f"bottom {bottom!r} is produced only later, by layer {makers[0]!r}; move this layer behind it"
    return f"bottom {bottom!r} is produced by no layer before this one{nearest(bottom, wiring.blobs)}"


def check_sharing(layers: Sequence[LayerSpec], shapes: Mapping[str, tuple[Shape, ...]], source: str) -> None:
    """Check that parameters of one name agree in shape (PERMISSIVE: in count) and in their multipliers.

    Args:
        layers: The layers.
        shapes: Shapes of the parameters by layer name.
        source: The net's file, for errors.

    Raises:
        CaffeFormatError: They do not; the message names both layers.
    """
    owners: dict[str, tuple[LayerSpec, int]] = {}
    for layer in layers:
        for index, param in enumerate(layer.params):
            if not param.name:
                continue
            owner, at = owners.setdefault(param.name, (layer, index))
            first = owner.params[at]
            for fact in ("lr_mult", "decay_mult"):
                ours, theirs = getattr(param, fact), getattr(first, fact)
                if ours != theirs:
                    raise problem(
                        layer,
                        source,
                        f"param {param.name!r}: {fact} {ours} differs from {theirs} of its owner, layer {owner.name!r}",
                    )
            if layer.name in shapes and owner.name in shapes:
                mine, other = shapes[layer.name][index], shapes[owner.name][at]
                loose = param.share_mode == "PERMISSIVE"
                if (count(mine) != count(other)) if loose else (mine != other):
                    raise problem(
                        layer,
                        source,
                        f"param {param.name!r}: shape {list(mine)} differs from {list(other)} of layer {owner.name!r}",
                    )


def default_loss_weights(layer_type: LayerType, tops: int) -> tuple[float, ...]:
    """The weights of tops in the total loss for which a file says nothing.

    Args:
        layer_type: The layer's type.
        tops: How many tops the layer names.

    Returns:
        1 for the first top of a loss layer (its anonymous one where it names none), 0 for every other top.
    """
    if layer_type.loss:
        return (1.0,) + (0.0,) * (tops - 1)
    return (0.0,) * tops


def default_param(row: LayerType) -> ParamSpec:
    """The training facts of a blob for which a file says nothing.

    Args:
        row: The layer's type.

    Returns:
        The facts.
    """
    return ParamSpec(lr_mult=0.0) if row.frozen else ParamSpec()


def bare_shape(shape: Sequence[int]) -> Shape:
    """A shape without leading ones: the old formats write a bias as (1, 1, 1, N).

    Args:
        shape: The shape.

    Returns:
        What is left of it.
    """
    start = next((index for index, side in enumerate(shape) if side != 1), len(shape))
    return tuple(shape[start:])
