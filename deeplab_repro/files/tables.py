"""Tables of a TOML file as records of a dataclass, every field checked."""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Mapping
from typing import Any, TypeVar

_Record = TypeVar("_Record")


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a file holds; ValueError naming it where it is no TOML, OSError where it cannot be read."""
    with open(path, "rb") as file:
        try:
            return tomllib.load(file)
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{path}: not TOML: {error}") from error


def record(kind: type[_Record], row: Mapping[str, Any], where: str, **given: Any) -> _Record:
    """A `kind` from a table of the same fields, arrays as tuples; `given` are those that no table may set.

    Raises ValueError beginning with `where` for a field that is unknown or missing."""
    fields = {field.name: field for field in dataclasses.fields(kind) if field.name not in given}  # type: ignore[arg-type]
    for name in row:
        if name not in fields:
            raise ValueError(f"{where}: unknown field {name!r}")
    for name, field in fields.items():
        if field.default is dataclasses.MISSING and name not in row:
            raise ValueError(f"{where}: {name} is missing")
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
    return kind(**values, **given)
