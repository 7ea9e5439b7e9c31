"""Tables of a TOML file as rows of a dataclass, every field checked."""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Mapping
from typing import Any, TypeVar

_Row = TypeVar("_Row")


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a TOML file.

    Args:
        path: The file.

    Returns:
        What it holds.

    Raises:
        ValueError: The file is no TOML; the message names it.
        OSError: The file cannot be read.
    """
    with open(path, "rb") as file:
        try:
            return tomllib.load(file)
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{path}: not TOML: {error}") from error


def typed_row(kind: type[_Row], row: Mapping[str, Any], where: str, **given: Any) -> _Row:
    """Make a dataclass of a table with the same fields.

    Args:
        kind: The dataclass.
        row: The table; its arrays become tuples.
        where: What errors begin with.
        given: Fields that no table may set.

    Returns:
        The dataclass with its fields.

    Raises:
        ValueError: A field is unknown or missing.
    """
    fields = {field.name: field for field in dataclasses.fields(kind) if field.name not in given}  # type: ignore[arg-type]
    for name in row:
        if name not in fields:
            raise ValueError(f"{where}: unknown field {name!r}")
    for name, field in fields.items():
        if field.default is dataclasses.MISSING and name not in row:
            raise ValueError(f"{where}: {name} is missing")
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
    return kind(**values, **given)
