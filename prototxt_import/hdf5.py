"""HDF5 model files: /data/<layer>/<blob index>."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from prototxt_import.errors import CaffeFormatError, complain
from prototxt_import.spec import Array

MAGIC = b"\x89HDF\r\n\x1a\n"


def is_hdf5(path: str | Path) -> bool:
    """Whether a file begins like HDF5; False for one that cannot be opened."""
    try:
        with open(path, "rb") as stream:
            return stream.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def read_hdf5(path: str | Path) -> dict[str, list[Array]]:
    """Blobs by layer name; layers without blobs (or whose shared blobs another owns) are left out.

    Raises CaffeFormatError for a file without such groups, or where h5py is not installed."""
    try:
        import h5py
    except ImportError:
        raise complain("is an HDF5 model; `pip install h5py` to read it", source=str(path)) from None
    found: dict[str, list[Array]] = {}
    try:
        with h5py.File(path, "r") as file:
            if not isinstance(file.get("data"), h5py.Group):
                raise complain("has no group /data; it is no Caffe model", source=str(path))
            for name, group in file["data"].items():
                blobs = [np.asarray(group[str(index)]) for index in range(len(group))]
                if any(blob.dtype.kind != "f" for blob in blobs):
                    raise complain(f"layer {name!r} holds something else than numbers", source=str(path))
                if blobs:
                    found[name] = blobs
    except CaffeFormatError:
        raise
    except (OSError, KeyError, TypeError, AttributeError, RuntimeError, ValueError) as error:
        raise complain(f"is a damaged HDF5 model: {error}", source=str(path)) from error
    return found
