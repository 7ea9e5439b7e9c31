"""Message classes of each Caffe dialect, built from the compiled schemas in this folder.

Dialects give the same message names different field numbers, so each lives in a descriptor pool of its own, loaded at
first use. "text" is the union by name of all of them, for prototxt files. `extend` adds a layer type's own message."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from prototxt_import.schema.own import UNNUMBERED, OwnField, OwnMessage, add

__all__ = ["DIALECTS", "FORKS", "OwnField", "OwnMessage", "extend", "is_numbered", "message"]

# The forks whose numbers are known, and "text", the union of their names.
FORKS = ("v1", "v2", "x2", "bvlc", "hed", "segnet", "enet", "pspnet", "crfrnn")
DIALECTS = (*FORKS, "text")

_own: list[OwnMessage] = []


def extend(own: OwnMessage) -> None:
    """Add a message to every dialect; messages that exist by then do not mix with later ones.

    Args:
        own: The message.

    Raises:
        ValueError: A name is taken or a number is none; nothing is added then.
    """
    _own.append(own)
    _forget()
    try:
        for dialect in DIALECTS:
            message(dialect, "NetParameter")
    except (TypeError, ValueError, KeyError) as error:
        _own.pop()
        _forget()
        raise ValueError(f"{own.field or own.v1}: cannot be added to the schema: {error}") from None


def is_numbered(dialect: str, field: str) -> bool:
    """Whether the binary files of a dialect have a number for a layer's message.

    Args:
        dialect: The dialect.
        field: The layer's field that holds the message.

    Returns:
        The answer.
    """
    holder = message(dialect, "V1LayerParameter" if dialect == "v1" else "LayerParameter").DESCRIPTOR
    return field in holder.fields_by_name and holder.fields_by_name[field].number < UNNUMBERED


def _forget() -> None:
    message.cache_clear()
    _pool.cache_clear()


@cache
def _pool(dialect: str) -> descriptor_pool.DescriptorPool:
    compiled = descriptor_pb2.FileDescriptorSet.FromString((files(__package__) / f"{dialect}.desc").read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in compiled.file:
        if any(message.name == "NetParameter" for message in file.message_type):
            add(file, _own)
        pool.AddSerializedFile(file.SerializeToString())
    return pool


@cache
def message(dialect: str, name: str) -> Any:
    """The class of a message.

    Args:
        dialect: One of DIALECTS.
        name: The message's name.

    Returns:
        The class.
    """
    return message_factory.GetMessageClass(_pool(dialect).FindMessageTypeByName(name))
