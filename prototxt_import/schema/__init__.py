"""Message classes of each Caffe dialect, built from the compiled schemas in this folder.

Dialects give the same message names different field numbers, so each lives in a descriptor pool of its own, loaded at
first use. "text" is the union by name of all of them, for prototxt files."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory


@cache
def _pool(dialect: str) -> descriptor_pool.DescriptorPool:
    compiled = descriptor_pb2.FileDescriptorSet.FromString((files(__package__) / f"{dialect}.desc").read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for one in compiled.file:
        pool.AddSerializedFile(one.SerializeToString())
    return pool


@cache
def message(dialect: str, name: str) -> Any:
    """The class of message `name` in `dialect`: "v1", "v2", "x2", "bvlc" or "text"."""
    return message_factory.GetMessageClass(_pool(dialect).FindMessageTypeByName(name))
