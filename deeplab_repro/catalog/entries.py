"""weights/catalog.toml as typed entries."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deeplab_repro.files.shipped import shipped
from deeplab_repro.files.tables import read_toml, typed_row
from prototxt_import.errors import nearest

CATALOG = shipped("catalog.toml")
REQUIRES = ("all", "backbone", "all but the classifier")
_VOC_INPUT = 513


@dataclass(frozen=True)
class Entry:
    """One weight file; weights/catalog.toml explains the fields.

    Args:
        name: In every command and in weights folders.
        file: Its own name.
        urls: Addresses known to have served it, newest first.
        member: Its name inside an archive.
        dialect: Of the file.
        model: The zoo's net it is for, "" for none.
        classes: Ending of the score layer's name, which says the data set.
        requires: Which of that net's tensors must be there, one of REQUIRES.
        blobs: How many tensors those are.
        parameters: How many numbers those are.
        trained_on: The split.
        crf: The preset published with it.
        input: The side in pixels that images are padded to; 0 where that is the next 32k + 1.
        scale: Relative size at which images are given to the net.
        sha256: Where known.
        reproduces: Ids in published.toml.
        beside: What stood beside it.
        recipe: How to train it, for nets that were never released.
        note: What else is known.
        released: False for nets whose scores are published and whose weights never were.

    Example:
        >>> from deeplab_repro import catalog
        >>> catalog.read_catalog().entry("vgg16").file
        'VGG_ILSVRC_16_layers.caffemodel'
    """

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
    """Image lists in an archive.

    Args:
        name: Of the folder they are kept in.
        urls: Addresses known to have served the archive.
        md5: By file name, of those lists that are known.
        note: What else is known.

    Example:
        >>> from deeplab_repro import catalog
        >>> all(lists.urls for lists in catalog.read_catalog().lists.values())
        True
    """

    name: str
    urls: tuple[str, ...]
    md5: Mapping[str, str]
    note: str = ""


@dataclass(frozen=True)
class Catalog:
    """All entries, and the mean that every released net subtracts.

    Args:
        entries: Weight files by name.
        lists: Image lists by name.
        mean_bgr: Of blue, green and red, in grey levels.

    Example:
        >>> from deeplab_repro import catalog
        >>> catalog.read_catalog().mean_bgr
        (104.008, 116.669, 122.675)
    """

    entries: Mapping[str, Entry]
    lists: Mapping[str, Lists]
    mean_bgr: tuple[float, float, float]

    def entry(self, name: str) -> Entry:
        """The weight file of a name.

        Args:
            name: Its name.

        Returns:
            The entry.

        Raises:
            ValueError: No entry has that name; the message has the nearest one.
        """
        if name not in self.entries:
            raise ValueError(
                f"{name}: not in the catalog; `deeplab weights list` shows it{nearest(name, self.entries)}"
            )
        return self.entries[name]


def read_catalog(path: str | os.PathLike[str] = CATALOG) -> Catalog:
    """Read the catalog.

    Args:
        path: The file; by default the one that comes with the package.

    Returns:
        The catalog.

    Raises:
        ValueError: Something is unknown, missing or doubled; the message names file, entry and field.

    Example:
        >>> from deeplab_repro import catalog
        >>> "vgg16" in catalog.read_catalog().entries
        True
    """
    data = read_toml(path)
    rows = [(row, True) for row in data.get("file", ())] + [(row, False) for row in data.get("own", ())]
    entries: dict[str, Entry] = {}
    for row, released in rows:
        entry = _entry(row, released, str(path))
        if entry.name in entries:
            raise ValueError(f"{path}: entry {entry.name}: the name is used twice")
        entries[entry.name] = entry
    lists = [typed_row(Lists, row, f"{path}: lists {row.get('name')}") for row in data.get("lists", ())]
    blue, green, red = data["preprocessing"]["mean_bgr"]
    return Catalog(entries, {archive.name: archive for archive in lists}, (blue, green, red))


def _entry(row: dict[str, Any], released: bool, path: str) -> Entry:
    where = f"{path}: entry {row.get('name', 'without name')}"
    if row.get("classes", "voc12") == "voc12":
        row = {"input": _VOC_INPUT, **row}
    entry = typed_row(Entry, row, where, released=released)
    if entry.requires not in REQUIRES:
        raise ValueError(f"{where}: requires must be one of {', '.join(REQUIRES)}")
    return entry
