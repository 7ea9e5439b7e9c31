"""Fields of Caffe's messages as frozen Python values, and back."""

from __future__ import annotations

import dataclasses
import math
import struct
from typing import Any

from prototxt_import.values import Filler

_SINGLE = struct.Struct("f")
_LARGEST = 2.0**128 - 2.0**104


def plain(message: Any, name: str) -> Any:
    """A message's field as a frozen Python value.

    Args:
        message: The message.
        name: The field's name.

    Returns:
        Enums by name, repeated fields as tuples, fillers as Filler.
    """
    descriptor = message.DESCRIPTOR.fields_by_name[name]
    value = getattr(message, name)
    if descriptor.message_type is not None and descriptor.message_type.name == "FillerParameter":
        return filler(value)
    if descriptor.enum_type is not None:
        names = descriptor.enum_type.values_by_number
        return tuple(names[number].name for number in value) if repeated(descriptor) else names[value].name
    convert = single if descriptor.cpp_type == descriptor.CPPTYPE_FLOAT else lambda scalar: scalar
    return tuple(map(convert, value)) if repeated(descriptor) else convert(value)


def repeated(descriptor: Any) -> bool:
    """Whether a field is repeated.

    Args:
        descriptor: The field's descriptor; late protobuf runtimes took `label` from it.

    Returns:
        The answer.
    """
    is_repeated = getattr(descriptor, "is_repeated", None)
    return bool(descriptor.label == descriptor.LABEL_REPEATED if is_repeated is None else is_repeated)


def single(value: float) -> float:
    """The shortest decimal that is the same single-precision number.

    Args:
        value: A number that a float32 holds.

    Returns:
        0.1 for the float32 nearest to 0.1.
    """
    if value == 0 or not math.isfinite(value):
        return value
    for digits in range(6, 9):
        short = float(f"{value:.{digits}g}")
        if abs(short) <= _LARGEST and _SINGLE.unpack(_SINGLE.pack(short))[0] == value:
            return short
    return value


def filler(message: Any) -> Filler:
    """A FillerParameter as a Filler.

    Args:
        message: The FillerParameter.

    Returns:
        The filler.
    """
    return Filler(**{fact.name: plain(message, fact.name) for fact in dataclasses.fields(Filler)})


def optional_filler(message: Any, name: str, default: Filler) -> Filler:
    """The filler in a message's field.

    Args:
        message: The message.
        name: The field's name.
        default: What stands for an absent field.

    Returns:
        The filler.
    """
    return filler(getattr(message, name)) if message.HasField(name) else default


def put(message: Any, group: str, name: str, value: Any) -> None:
    """Set message.group.name unless that is its value anyway.

    Args:
        message: The layer's message, which is changed.
        group: The layer's field that holds its parameters.
        name: The field in it.
        value: What `plain` would give of it; None leaves it absent.

    Raises:
        ValueError: The dialect has no such field.
    """
    if value is None:
        return
    if group not in message.DESCRIPTOR.fields_by_name:
        raise ValueError(f"this dialect has no {group}")
    inner = getattr(message, group)
    descriptor = inner.DESCRIPTOR.fields_by_name.get(name)
    if descriptor is None:
        if value == _WITHOUT.get(name) or value == ():
            return
        raise ValueError(f"this dialect has no field {name} in {group} (value {value!r})")
    if isinstance(value, Filler):
        put_filler(getattr(inner, name), value)
    elif isinstance(value, tuple):
        numbers = descriptor.enum_type.values_by_name if descriptor.enum_type is not None else None
        getattr(inner, name).extend([numbers[word].number for word in value] if numbers else value)
    elif plain(inner, name) != value:
        setattr(inner, name, descriptor.enum_type.values_by_name[value].number if descriptor.enum_type else value)


# What a field means in a dialect that lacks it.
_WITHOUT = {"axis": 1, "eps": 1e-9, "reset": True, "round_mode": "CEIL", "output_probability": True}


def put_filler(message: Any, value: Filler) -> None:
    """Write a filler; the type is always written, so that an otherwise default filler stays visible.

    Args:
        message: A FillerParameter, which is changed.
        value: The filler.
    """
    for fact in dataclasses.fields(Filler):
        wanted = getattr(value, fact.name)
        if fact.name == "type" or wanted != plain(message, fact.name):
            enum = message.DESCRIPTOR.fields_by_name[fact.name].enum_type
            setattr(message, fact.name, enum.values_by_name[wanted].number if enum else wanted)
