"""A layer type's own message, described in Python, as part of a dialect's compiled schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pb2

_FIELD = descriptor_pb2.FieldDescriptorProto
_KINDS = {
    "int": _FIELD.TYPE_INT64,
    "float": _FIELD.TYPE_FLOAT,
    "bool": _FIELD.TYPE_BOOL,
    "str": _FIELD.TYPE_STRING,
    "filler": _FIELD.TYPE_MESSAGE,
    "enum": _FIELD.TYPE_ENUM,
}
# Where a message without a number of its own is put: text has no numbers, and binary files leave it out.
UNNUMBERED = 100_000


@dataclass(frozen=True)
class OwnField:
    """A field of an own message. kind: "int", "float", "bool", "str", "filler" or "enum" (one of `values`)."""

    name: str
    number: int
    kind: str
    repeated: bool = False
    default: str = ""
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class OwnMessage:
    """The message that a layer keeps in `field` (number: in the second format), and the type's name in V1's enum."""

    field: str = ""
    fields: tuple[OwnField, ...] = ()
    number: int | None = None
    v1: str = ""


def add(file: Any, messages: Sequence[OwnMessage]) -> None:
    """Write own messages into the file that holds a dialect's nets.

    A number that another field of the dialect has is not used there.

    Args:
        file: Its FileDescriptorProto, which is changed.
        messages: The messages.

    Raises:
        ValueError: A name is taken.
    """
    holders = {kind.name: kind for kind in file.message_type if kind.name in ("LayerParameter", "V1LayerParameter")}
    for index, own in enumerate(messages):
        if own.field:
            name = f"Own{index}Message"
            message = file.message_type.add(name=name)
            for field in own.fields:
                _describe(message, field)
            for holder in holders.values():
                _hold(holder, own, UNNUMBERED + index, name)
        if own.v1 and "V1LayerParameter" in holders:
            enum = next(enum for enum in holders["V1LayerParameter"].enum_type if enum.name == "LayerType")
            enum.value.add(name=own.v1, number=UNNUMBERED + index)


def _hold(holder: Any, own: OwnMessage, unnumbered: int, type_name: str) -> None:
    if any(field.name == own.field for field in holder.field):
        raise ValueError(f"layers have a field {own.field} already")
    free = holder.name == "LayerParameter" and all(field.number != own.number for field in holder.field)
    number = own.number if free and own.number is not None else unnumbered
    holder.field.add(
        name=own.field,
        number=number,
        label=_FIELD.LABEL_OPTIONAL,
        type=_FIELD.TYPE_MESSAGE,
        type_name=f".{type_name}",
    )


def _describe(message: Any, field: OwnField) -> None:
    described = message.field.add(
        name=field.name,
        number=field.number,
        label=_FIELD.LABEL_REPEATED if field.repeated else _FIELD.LABEL_OPTIONAL,
        type=_KINDS[field.kind],
    )
    if field.default:
        described.default_value = field.default
    if field.kind == "filler":
        described.type_name = ".FillerParameter"
    elif field.kind == "enum":
        enum = message.enum_type.add(name=f"{field.name.capitalize()}Enum")
        for number, value in enumerate(field.values):
            enum.value.add(name=value, number=number)
        described.type_name = f".{message.name}.{enum.name}"
