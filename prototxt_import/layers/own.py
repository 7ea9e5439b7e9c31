"""Layer types that are no part of this package: what their prototxt message holds, told by a dataclass.

    @layer_type("CropCenter", field="crop_center_param")
    @dataclass(frozen=True)
    class CropCenterOptions(Options):
        crop_size: tuple[int, ...] = ()

        def shapes(self, bottoms, tops):
            ...

reads `crop_center_param { crop_size: 0 crop_size: 2 }`. What such layers compute is the business of
deeplab_repro.layers.module."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from prototxt_import import schema
from prototxt_import.layers.base import Options
from prototxt_import.layers.table import lookup, register
from prototxt_import.values import Filler

T = TypeVar("T", bound=Options)
_SCALARS = {int: "int", float: "float", bool: "bool", str: "str", Filler: "filler"}


def layer_type(name: str, *, field: str = "", number: int | None = None, **row: Any) -> Callable[[type[T]], type[T]]:
    """Class decorator: layers of a type of your own have the options of this dataclass, a subclass of Options.

    The dataclass tells the type's message: a field per attribute, of type int, float, bool, str, Filler,
    Literal["A", "B"] (an enum) or, repeated, tuple[int, ...] etc. An attribute without a default must be in the file,
    one with `| None = None` may be absent. Attributes number from 1 on, or as their metadata say:
    field(default=0, metadata={"number": 7}).

    Args:
        name: The type's name in prototxts.
        field: The layer's field that holds its parameters, "" for none.
        number: That of `field` in binary files; without one, written models hold such layers' blobs alone.
        row: The other facts of a LayerType: bottoms, tops (least and most), loss, data, frozen, v1 (the type's name in
            the first format), pointwise (then nets of such layers can be made dense), affine (then they fold into
            convolutions, see deeplab_repro.layers.CaffeLayer.channel_map), train_only, scorer, decides, only_sizes,
            keeps_place.

    Returns:
        The decorator.

    Raises:
        ValueError: The name is taken, or an attribute is of another type.

    Example:
        >>> from dataclasses import dataclass
        >>> from prototxt_import import Options, layer_type, parse_net
        >>> @layer_type("ExampleShift", field="example_shift_param")
        ... @dataclass(frozen=True)
        ... class ExampleShiftOptions(Options):
        ...     shift: float = 0.0
        >>> net = parse_net('input: "x" input_shape { dim: 1 } layer { name: "s" type: "ExampleShift" bottom: "x" '
        ...                 'top: "y" example_shift_param { shift: 2 } }')
        >>> net.layers[0].options.shift
        2.0
    """

    def enter(options: type[T]) -> type[T]:
        if lookup(name) is not None:
            raise ValueError(f"layer type {name!r} is registered already")
        described = tuple(_described(options)) if field else ()
        if field or row.get("v1"):
            schema.extend(schema.OwnMessage(field, described, number, row.get("v1", "")))
        return register(name, field=field, **row)(options)

    return enter


def _described(options: type[Options]) -> list[schema.OwnField]:
    hints = get_type_hints(options)
    described = []
    for index, attribute in enumerate(dataclasses.fields(options), 1):
        kind, repeated, values = _kind(hints[attribute.name], f"{options.__qualname__}.{attribute.name}")
        default = "" if repeated or kind == "filler" else _default(attribute.default)
        number = attribute.metadata.get("number", index)
        described.append(schema.OwnField(attribute.name, number, kind, repeated, default, values))
    return described


def _kind(hint: Any, place: str) -> tuple[str, bool, tuple[str, ...]]:
    """(kind, repeated, enum values) of an annotation."""
    inner, origin = get_args(hint), get_origin(hint)
    if origin in (Union, UnionType) and len(inner) == 2 and NoneType in inner:
        return _kind(next(kind for kind in inner if kind is not NoneType), place)
    if origin is tuple and len(inner) == 2 and inner[1] is Ellipsis:
        kind, repeated, values = _kind(inner[0], place)
        if not repeated:
            return kind, True, values
    if origin is Literal and all(isinstance(word, str) for word in inner):
        return "enum", False, inner
    if hint in _SCALARS:
        return _SCALARS[hint], False, ()
    raise ValueError(
        f"{place} is {hint}; a field is int, float, bool, str, Filler, Literal of strings, or a tuple[..., ...] of one"
    )


def _default(value: Any) -> str:
    """A default as a descriptor writes it."""
    if value is dataclasses.MISSING or value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
