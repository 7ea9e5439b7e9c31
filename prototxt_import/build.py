"""From layers to a checked net: wiring, shapes, shared parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prototxt_import.errors import CaffeFormatError, complain
from prototxt_import.layers.base import MAX_COUNT, LayerType, count, lookup
from prototxt_import.prototxt.text import nearest
from prototxt_import.spec import LayerSpec, NetSpec, ParamSpec, Shape


def problem(layer: LayerSpec, source: str, what: object) -> CaffeFormatError:
    """An error about one layer of a net."""
    return complain(str(what), source=source, line=layer.line, layer=layer.name, type_name=layer.type)


@dataclass
class Wiring:
    """What inference finds out about a net; shapes are None where only data can tell."""

    blobs: dict[str, Shape | None]
    param_shapes: dict[str, tuple[Shape, ...]]
    outputs: tuple[str, ...]


def check_shape(shape: Sequence[int]) -> Shape:
    """`shape` as tuple; ValueError for a negative side or more elements than Caffe can count."""
    if any(side < 0 for side in shape):
        raise ValueError(f"shape {list(shape)} has a negative side")
    if count(max(side, 1) for side in shape) > MAX_COUNT:
        raise ValueError(f"shape {list(shape)} has more than {MAX_COUNT} elements")
    return tuple(int(side) for side in shape)


def infer(inputs: Mapping[str, Shape], layers: Sequence[LayerSpec], source: str, given: Mapping[str, Shape]) -> Wiring:
    """Walk a net in file order: every bottom must exist, every top be new or in place, every shape fit.

    given: shapes of data layers' tops that are known otherwise. Raises CaffeFormatError naming the layer."""
    found = Wiring({}, {}, ())
    loose: dict[str, None] = {}
    for name, shape in inputs.items():
        try:
            found.blobs[name] = check_shape(shape)
        except ValueError as error:
            raise complain(f"input {name!r}: {error}", source=source) from None
        loose[name] = None
    names: dict[str, LayerSpec] = {}
    for layer in layers:
        row = lookup(layer.type)
        if row is None:
            raise problem(layer, source, "unknown layer type")
        if layer.name in names:
            first = names[layer.name].line
            where = f", first in line {first}" if first else ""
            raise problem(layer, source, f"the name is used twice{where}; give every layer a name of its own")
        names[layer.name] = layer
        _check_counts(layer, row, source)
        for bottom in layer.bottoms:
            if bottom not in found.blobs:
                raise problem(layer, source, _no_such_blob(bottom, found, layers))
            loose.pop(bottom, None)
        bottoms = [found.blobs[one] for one in layer.bottoms]
        try:
            tops = _tops(layer, bottoms, given)
            if layer.options.blob_count(len(bottoms)) and None not in bottoms:
                shapes = layer.options.params([one for one in bottoms if one is not None])
                found.param_shapes[layer.name] = tuple(check_shape(one) for one in shapes)
        except ValueError as error:
            raise problem(layer, source, error) from None
        for index, top in enumerate(layer.tops):
            in_place = index < len(layer.bottoms) and layer.bottoms[index] == top
            if top in found.blobs and not in_place:
                raise problem(layer, source, f"top {top!r} exists already; only a layer's own bottom may be reused")
            found.blobs[top] = tops[index]
            loose[top] = None
    found.outputs = tuple(loose)
    return found


def _tops(layer: LayerSpec, bottoms: Sequence[Shape | None], given: Mapping[str, Shape]) -> Sequence[Shape | None]:
    known = [one for one in bottoms if one is not None]
    shapes = layer.options.shapes(known, len(layer.tops)) if len(known) == len(bottoms) else None
    if shapes is None:
        tops: list[Shape | None] = [None] * len(layer.tops)
    elif len(shapes) < len(layer.tops):
        raise ValueError(f"has {len(layer.tops)} tops; it makes {len(shapes)}")
    else:
        tops = [check_shape(one) for one in shapes[: len(layer.tops)]]
    if not layer.bottoms:
        tops = [check_shape(given[top]) if top in given else tops[i] for i, top in enumerate(layer.tops)]
    return tops


def _check_counts(layer: LayerSpec, row: LayerType, source: str) -> None:
    for what, names, (least, most) in (("bottom", layer.bottoms, row.bottoms), ("top", layer.tops, row.tops)):
        if len(names) < least or (most is not None and len(names) > most):
            wanted = f"{least}" if least == most else f"at least {least}" if most is None else f"{least} to {most}"
            raise problem(layer, source, f"has {len(names)} {what}s; it takes {wanted}")


def _no_such_blob(bottom: str, found: Wiring, layers: Sequence[LayerSpec]) -> str:
    later = [one.name for one in layers if bottom in one.tops]
    if later:
        return f"bottom {bottom!r} is produced only later, by layer {later[0]!r}; move this layer behind it"
    return f"bottom {bottom!r} is produced by no layer before this one{nearest(bottom, found.blobs)}"


def check_sharing(layers: Sequence[LayerSpec], shapes: Mapping[str, tuple[Shape, ...]], source: str) -> None:
    """Parameters of one name must agree in shape (PERMISSIVE: in count) and in their multipliers."""
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
    """1 for the first top of a loss layer (its anonymous one where it names none), 0 for every other top."""
    if layer_type.loss:
        return (1.0,) + (0.0,) * (tops - 1)
    return (0.0,) * tops


def default_param(row: LayerType) -> ParamSpec:
    """The training facts of a blob for which a file says nothing."""
    return ParamSpec(lr_mult=0.0) if row.frozen else ParamSpec()


def finish(spec: NetSpec, given: Mapping[str, Shape] | None = None) -> NetSpec:
    """`spec` with blobs, param_shapes and outputs inferred, sharing checked."""
    wiring = infer(spec.inputs, spec.layers, spec.source, given or {})
    check_sharing(spec.layers, wiring.param_shapes, spec.source)
    found = dataclasses.replace(
        spec,
        blobs={name: shape for name, shape in wiring.blobs.items() if shape is not None},
        param_shapes=wiring.param_shapes,
        outputs=wiring.outputs,
    )
    return fit(found, "the weights") if spec.weights else found


def fit(spec: NetSpec, origin: str) -> NetSpec:
    """`spec` with its weights in the shapes of its parameters; CaffeFormatError naming the layer where they differ.

    Leading axes of size 1 do not count: the old formats write a bias as (1, 1, 1, N). Layers whose shapes only data
    can tell wait until those are known."""
    fitted = {}
    for layer in spec.layers:
        blobs = spec.weights.get(layer.name)
        if blobs is None:
            continue
        shapes = spec.param_shapes.get(layer.name)
        fitted[layer.name] = blobs
        if shapes is None:
            continue
        for index, (blob, shape) in enumerate(zip(blobs, shapes, strict=True)):
            if bare_shape(blob.shape) != bare_shape(shape):
                raise problem(
                    layer,
                    spec.source,
                    f"blob {index} has shape {list(shape)} here and {list(blob.shape)} in {origin}; the net and the "
                    "model do not belong together",
                )
        fitted[layer.name] = [blob.reshape(shape) for blob, shape in zip(blobs, shapes, strict=True)]
    return dataclasses.replace(spec, weights=fitted)


def bare_shape(shape: Sequence[int]) -> Shape:
    """A shape without leading ones: the old formats write a bias as (1, 1, 1, N)."""
    start = next((index for index, side in enumerate(shape) if side != 1), len(shape))
    return tuple(shape[start:])


def reshape(spec: NetSpec, shapes: Mapping[str, Shape]) -> NetSpec:
    """See NetSpec.with_inputs."""
    fed = {top for layer in spec.layers if not layer.bottoms for top in layer.tops}
    unknown = [name for name in shapes if name not in spec.inputs and name not in fed]
    if unknown:
        known = [*spec.inputs, *sorted(fed)]
        raise complain(f"the net has no input {unknown[0]!r}{nearest(unknown[0], known)}", source=spec.source)
    inputs = {name: tuple(shapes.get(name, shape)) for name, shape in spec.inputs.items()}
    given = {name: tuple(shapes.get(name, spec.blobs.get(name, ()))) for name in fed if name in {*shapes, *spec.blobs}}
    return finish(dataclasses.replace(spec, inputs=inputs), given)


def make_net(
    name: str,
    inputs: Mapping[str, Shape],
    layers: Sequence[LayerSpec],
    phase: str = "TEST",
    dialect: str = "v2",
    force_backward: bool = False,
) -> NetSpec:
    """A net out of layers built in code (see `layer`), wired and checked like one that was read.

    Raises CaffeFormatError naming the layer that does not fit."""
    return finish(
        NetSpec(name, dict(inputs), tuple(layers), phase=phase, dialect=dialect, force_backward=force_backward)
    )


def layer(
    type: str,
    name: str,
    bottoms: Sequence[str] | str = (),
    tops: Sequence[str] | str = (),
    *,
    params: Sequence[ParamSpec] = (),
    loss_weights: Sequence[float] | None = None,
    propagate_down: Sequence[bool] = (),
    **options: object,
) -> LayerSpec:
    """A LayerSpec with everything left out resolved: option defaults, one ParamSpec per blob, loss weights.

    options: fields of the type's options dataclass. Raises ValueError for an unknown type or option."""
    row = lookup(type)
    if row is None:
        raise complain("unknown layer type", layer=name, type_name=type)
    bottoms = (bottoms,) if isinstance(bottoms, str) else tuple(bottoms)
    tops = (tops,) if isinstance(tops, str) else tuple(tops)
    fields = [one.name for one in dataclasses.fields(row.options)]
    unknown = [one for one in options if one not in fields]
    if unknown:
        what = f"has no option {unknown[0]!r}{nearest(unknown[0], fields)}"
        raise complain(what, layer=name, type_name=type)
    absent = [
        one.name
        for one in dataclasses.fields(row.options)
        if one.default is one.default_factory is dataclasses.MISSING and one.name not in options
    ]
    if absent:
        raise complain(f"needs the option {absent[0]!r}", layer=name, type_name=type)
    try:
        resolved = row.options(**options).resolve(len(bottoms))
    except (TypeError, ValueError) as error:
        raise complain(str(error), layer=name, type_name=type) from None
    blobs = resolved.blob_count(len(bottoms))
    if len(params) > blobs:
        raise complain(f"{len(params)} params for {blobs} blobs", layer=name, type_name=type)
    return LayerSpec(
        name=name,
        type=type,
        bottoms=bottoms,
        tops=tops,
        options=resolved,
        params=(*params, *[default_param(row)] * (blobs - len(params))),
        loss_weights=default_loss_weights(row, len(tops)) if loss_weights is None else tuple(loss_weights),
        propagate_down=tuple(propagate_down),
    )
