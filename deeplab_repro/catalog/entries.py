"""weights/catalog.toml as typed entries."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deeplab_repro.files.shipped import shipped
from deeplab_repro.files.tables import read_toml, record
from prototxt_import.errors import nearest

CATALOG = shipped("catalog.toml")
REQUIRES = ("all", "backbone", "all but the classifier")
_VOC_INPUT = 513


@dataclass(frozen=True)
class Entry:
    """One weight file; the fields are those of weights/catalog.toml, which explains them.

    released: False for nets whose scores are published and whose weights never were; recipe says how to train those.
    input: 0 where images are padded to the next 32k + 1."""

    name: str
    file: str = ""
    urls: tuple[str, ...] = ()
    member: str = ""
    dialect: str = ""
    model: str = ""
    classes: str = "voc12"
    requires: str = "all"
    blobs: int = 0
    parameters: int = 0
    trained_on: str = ""
    crf: str = ""
    input: int = 0
    scale: float = 1.0
    sha256: str = ""
    reproduces: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    recipe: str = ""
    note: str = ""
    released: bool = True


@dataclass(frozen=True)
class Lists:
    """Image lists in an archive; md5: by file name, of those that are known."""

    name: str
    urls: tuple[str, ...]
    md5: Mapping[str, str]
    note: str = ""


@dataclass(frozen=True)
class Catalog:
    """All entries by name, and the mean that every released net subtracts."""

    entries: Mapping[str, Entry]
    lists: Mapping[str, Lists]
    mean_bgr: tuple[float, float, float]

    def entry(self, name: str) -> Entry:
        """The weight file of that name; ValueError with the nearest name for another."""
        if name not in self.entries:
            raise ValueError(
                f"{name}: not in the catalog; `deeplab weights list` shows it{nearest(name, self.entries)}"
            )
        return self.entries[name]


def read_catalog(path: str | os.PathLike[str] = CATALOG) -> Catalog:
    """Read the catalog; ValueError naming file, entry and field for anything unknown, missing or doubled."""
    data = read_toml(path)
    rows = [(row, True) for row in data.get("file", ())] + [(row, False) for row in data.get("own", ())]
    entries: dict[str, Entry] = {}
    for row, released in rows:
        entry = _entry(row, released, str(path))
        if entry.name in entries:
            raise ValueError(f"{path}: entry {entry.name}: the name is used twice")
        entries[entry.name] = entry
    lists = [record(Lists, row, f"{path}: lists {row.get('name')}") for row in data.get("lists", ())]
    blue, green, red = data["preprocessing"]["mean_bgr"]
    return Catalog(entries, {each.name: each for each in lists}, (blue, green, red))


def _entry(row: dict[str, Any], released: bool, path: str) -> Entry:
    where = f"{path}: entry {row.get('name', 'without name')}"
    if row.get("classes", "voc12") == "voc12":
        row = {"input": _VOC_INPUT, **row}
    entry = record(Entry, row, where, released=released)
    if entry.requires not in REQUIRES:
        raise ValueError(f"{where}: requires must be one of {', '.join(REQUIRES)}")
    return entry
