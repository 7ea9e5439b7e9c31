"""HDF5 files that Caffe writes: models with /data/<layer>/<blob index>, and solver states.

Only what lies in the file itself is read: links to other files, and data sets stored in other files, are refused."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from prototxt_import.errors import CaffeFormatError, complain
from prototxt_import.values import Array

MAGIC = b"\x89HDF\r\n\x1a\n"
# Stands for a blob that another layer owns, so that the blobs behind it keep their places.
ABSENT: Array = np.zeros(0, "<f4")
# Layer names hold a few slashes, each of which is a level; a net has some thousand layers.
MAX_DEPTH, MAX_OBJECTS = 32, 100_000
# Weights hardly compress: honest models claim about as many bytes as their file has.
MAX_RATIO = 16


def is_hdf5(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins like HDF5.

    Args:
        path: The file.

    Returns:
        The answer; False for a file that cannot be opened.
    """
    try:
        with open(path, "rb") as stream:
            return stream.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


@contextlib.contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Open an HDF5 file for a `with` block; what goes wrong inside the block comes out as CaffeFormatError.

    Args:
        path: The file.

    Yields:
        The h5py.File.

    Raises:
        CaffeFormatError: The file is damaged, or h5py is not installed.
    """
    try:
        import h5py
    except ImportError:
        raise complain("is an HDF5 file; `pip install h5py` to read it", source=str(path)) from None
    try:
        with h5py.File(path, "r") as file:
            yield file
    except CaffeFormatError:
        raise
    except (OSError, KeyError, TypeError, AttributeError, RuntimeError, ValueError, MemoryError) as error:
        raise complain(f"is a damaged HDF5 file: {error}", source=str(path)) from error


def holds(group: Any, name: str) -> bool:
    """Whether a group has a member of a name, wherever it may lead.

    Args:
        group: The group.
        name: The member's name.

    Returns:
        The answer.
    """
    return group.get(name, getlink=True) is not None


def member(group: Any, name: str, source: str) -> Any:
    """A member of a group.

    Args:
        group: The group.
        name: The member's name.
        source: The file's name.

    Returns:
        The group or data set.

    Raises:
        CaffeFormatError: There is none, or it lies anywhere but in this very file.
    """
    import h5py

    link = group.get(name, getlink=True)
    if link is None:
        raise complain(f"has no {name!r} where one belongs", source=source)
    if not isinstance(link, h5py.HardLink):
        raise complain(f"{name!r} is a link to {_target(link)}; links are not followed", source=source)
    return group[name]


def _target(link: Any) -> str:
    return f"{link.filename!r}" if hasattr(link, "filename") else "another place"


class NumberReader:
    """Reads numbers of an open file, never more in all than the file can hold: HDF5 stores an array that was never
    written, or is all zeros and compressed, in a few bytes, and several may name the same bytes."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._left = MAX_RATIO * Path(source).stat().st_size
        self._objects = 0

    def count(self) -> None:
        """One more object; CaffeFormatError for absurdly many."""
        self._objects += 1
        if self._objects > MAX_OBJECTS:
            raise complain(f"holds more than {MAX_OBJECTS} objects; that is no Caffe file", source=self.source)

    def numbers(self, data: Any, place: str, kinds: str = "f") -> Array:
        """The array of a data set.

        Args:
            data: The data set.
            place: What it is, for errors.
            kinds: The kinds of numbers that it may hold, as numpy's dtype.kind.

        Returns:
            The array.

        Raises:
            CaffeFormatError: It holds something else, lies in another file, or is larger than the file can be.
        """
        import h5py

        self.count()
        if not isinstance(data, h5py.Dataset) or data.dtype.kind not in kinds or data.shape is None:
            raise complain(f"{place} holds something else than numbers", source=self.source)
        if data.external or data.is_virtual:
            raise complain(f"{place} is stored in another file, which is not read", source=self.source)
        self._left -= data.nbytes
        if self._left < 0:
            raise complain(f"{place} claims {data.nbytes} bytes, more than the file can hold", source=self.source)
        return np.asarray(data[()])


def read_hdf5(path: str | os.PathLike[str]) -> dict[str, list[Array]]:
    """The blobs of an HDF5 model.

    Args:
        path: The file.

    Returns:
        Arrays by layer name; layers without blobs (or whose shared blobs another owns) are left out.

    Raises:
        CaffeFormatError: The file has no such groups, or h5py is not installed.
    """
    source = str(path)
    with opened(path) as file:
        import h5py

        if not holds(file, "data") or not isinstance(member(file, "data", source), h5py.Group):
            raise complain("has no group /data; it is no Caffe model", source=source)
        return dict(_layers(file["data"], "", NumberReader(source), 0))


def _layers(group: Any, prefix: str, reader: NumberReader, depth: int) -> Iterator[tuple[str, list[Array]]]:
    """(name, blobs) of the layers in a group and below: a name with slashes is a path."""
    import h5py

    if depth > MAX_DEPTH:
        raise complain(f"groups nest deeper than {MAX_DEPTH}", source=reader.source)
    blobs: dict[int, Array] = {}
    for key in group:
        reader.count()
        inner = member(group, key, reader.source)
        if isinstance(inner, h5py.Group):
            yield from _layers(inner, f"{prefix}{key}/", reader, depth + 1)
        elif not prefix or not (key.isascii() and key.isdecimal()) or int(key[:9]) > len(group) + MAX_DEPTH:
            raise complain(f"{prefix + key!r} is no numbered blob of a layer", source=reader.source)
        else:
            blobs[int(key)] = reader.numbers(inner, f"blob {prefix + key!r}")
    if blobs:
        yield prefix[:-1], [blobs.get(index, ABSENT) for index in range(max(blobs) + 1)]
