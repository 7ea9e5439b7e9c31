"""The catalog against a folder: what is there, and whether it is what it should be."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from deeplab_repro.catalog.entries import Entry
from deeplab_repro.catalog.store import Store
from deeplab_repro.catalog.tensors import expected_tensors


def listed(entries: Iterable[Entry], store: Store) -> list[dict[str, Any]]:
    """What each file is, where it was, and where it is.

    Args:
        entries: Of the catalog.
        store: The folder.

    Returns:
        A row for each entry; "path" is None for a file that is not there, "sha256" for one that nobody has seen.

    Raises:
        ValueError: The folder's checksums are damaged.
    """
    sums = store.checksums()
    rows = []
    for entry in entries:
        expected = expected_tensors(entry)
        rows.append(
            {
                "name": entry.name,
                "file": entry.file,
                "model": entry.model,
                "classes": entry.classes,
                "trained_on": entry.trained_on,
                "tensors": expected.blobs,
                "parameters": expected.parameters,
                "released": entry.released,
                "urls": entry.urls,
                "member": entry.member,
                "beside": entry.beside,
                "reproduces": entry.reproduces,
                "path": store.find(entry.name),
                "sha256": sums.get(entry.name, {}).get("sha256") or entry.sha256 or None,
                "note": entry.note or entry.recipe,
            }
        )
    return rows


def present(entries: Iterable[Entry], store: Store) -> list[Entry]:
    """The entries whose files are there.

    Args:
        entries: Of the catalog.
        store: The folder.

    Returns:
        Those entries.

    Raises:
        FileNotFoundError: There is none.
    """
    here = [entry for entry in entries if store.find(entry.name) is not None]
    if not here:
        raise FileNotFoundError(f"{store.folder}: holds no file of the catalog; see deeplab weights list")
    return here


def checked(entries: Iterable[Entry], store: Store) -> list[dict[str, Any]]:
    """Check the files of entries: checksum, and every tensor's name and shape.

    Args:
        entries: Of the catalog.
        store: The folder.

    Returns:
        A row for each entry; "problem" says on one line what is wrong, None where nothing is.
    """
    rows = []
    for entry in entries:
        expected = expected_tensors(entry)
        row: dict[str, Any] = {"name": entry.name, "tensors": expected.blobs, "parameters": expected.parameters}
        try:
            row |= {"path": store.check(entry), "problem": None}
        except (OSError, ValueError) as error:
            row |= {"path": store.find(entry.name), "problem": " ".join(str(error).split())}
        rows.append(row)
    return rows
