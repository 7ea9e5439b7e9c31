"""Layers and nets built in code, everything left out resolved as if read from a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from prototxt_import.errors import complain, nearest
from prototxt_import.layers.base import required
from prototxt_import.layers.table import lookup
from prototxt_import.spec import NetSpec, finish
from prototxt_import.values import LayerSpec, ParamSpec, Shape
from prototxt_import.wiring import default_loss_weights, default_param


def make_net(
    name: str,
    inputs: Mapping[str, Shape],
    layers: Sequence[LayerSpec],
    phase: str = "TEST",
    dialect: str = "v2",
    force_backward: bool = False,
) -> NetSpec:
    """A net out of layers built in code (see `layer`), wired and checked like one that was read.

    Args:
        name: The net's name.
        inputs: Shape by input blob.
        layers: The layers in order.
        phase: "TRAIN" or "TEST".
        dialect: The dialect whose rules apply, such as "v1" or "v2".
        force_backward: Whether gradients reach the inputs and blobs of lr_mult 0, too.

    Returns:
        The net with its shapes inferred.

    Raises:
        CaffeFormatError: A layer does not fit; the message names it.

    Example:
        >>> from prototxt_import import layer, make_net
        >>> make_net("n", {"x": (1, 3, 8, 8)}, [layer("ReLU", "r", "x", "y")]).outputs
        ('y',)
    """
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
    """A layer with everything left out resolved: option defaults, one ParamSpec per blob, loss weights.

    Args:
        type: The V2 type name.
        name: The layer's name.
        bottoms: Names of the blobs it reads, or the only one.
        tops: Names of the blobs it makes, or the only one.
        params: ParamSpecs of the first blobs; the others get the type's default.
        loss_weights: One per top; None for the type's default.
        propagate_down: One per bottom, or empty.
        options: Fields of the type's options dataclass.

    Returns:
        The layer.

    Raises:
        CaffeFormatError: The type or an option is unknown, an option is missing or of a wrong value.

    Example:
        >>> from prototxt_import import layer
        >>> fc6 = layer("Convolution", "fc6", "pool5", "fc6", num_output=1024, kernel=(3, 3), dilation=(12, 12))
        >>> fc6.options.dilation, len(fc6.params)
        ((12, 12), 2)
    """
    row = lookup(type)
    if row is None:
        raise complain("unknown layer type", layer=name, type_name=type)
    bottoms = (bottoms,) if isinstance(bottoms, str) else tuple(bottoms)
    tops = (tops,) if isinstance(tops, str) else tuple(tops)
    known = {option.name: option for option in dataclasses.fields(row.options)}
    unknown = [key for key in options if key not in known]
    if unknown:
        raise complain(f"has no option {unknown[0]!r}{nearest(unknown[0], known)}", layer=name, type_name=type)
    absent = [key for key, option in known.items() if required(option) and key not in options]
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
