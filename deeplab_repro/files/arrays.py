"""Files of the original DeepLab pipeline: score maps in .mat, .bin, .npy and .npz; label maps and marginals out.

.mat: MATLAB v5 variable `data`, class single, dimensions [W, H, C] or [W, H, C, 1]: a Caffe blob's memory read
column by column. .bin: three little-endian int32 (rows, columns, channels), then the values column by column,
float32 for probabilities, int16 for labels.
"""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deeplab_repro.files.atomic import replacing

SCORE_SUFFIXES = (".npy", ".npz", ".mat", ".bin")
RESULT_SUFFIXES = (".png", ".bin", ".npy", ".mat")


@dataclass(frozen=True)
class Scores:
    """values: float32 [L, H, W]; probabilities: whether they are such, else logits; source: the file."""

    values: np.ndarray
    probabilities: bool
    source: str

    def cropped(self, height: int, width: int) -> Scores:
        """The top left height x width; ValueError naming both sizes when the scores are smaller.

        .mat files hold the padded size of the network's input, other formats the image's own: those must match."""
        have = self.values.shape[1:]
        padded = Path(self.source).suffix.lower() == ".mat"
        if (have[0] < height or have[1] < width) if padded else have != (height, width):
            raise ValueError(
                f"{self.source}: scores of {have[0]} x {have[1]} pixels (height x width) do not fit the image's "
                f"{height} x {width}"
            )
        return Scores(self.values[:, :height, :width], self.probabilities, self.source)


def read_scores(path: str | os.PathLike[str], probabilities: bool | None = None) -> Scores:
    """Scores from .npy or .npz ([L, H, W] or [1, L, H, W]), .mat or .bin.

    probabilities: None takes .bin for probabilities and everything else for logits, as the original programs do.
    Raises OSError when the file cannot be read, ValueError naming it when its contents are no score map."""
    suffix = Path(path).suffix.lower()
    if suffix == ".mat":
        values = read_mat(path)
    elif suffix == ".bin":
        values = read_bin(path)
    elif suffix in (".npy", ".npz"):
        values = _read_numpy(path)
    else:
        raise ValueError(f"{path}: scores are read from {', '.join(SCORE_SUFFIXES)} files, not {suffix or 'this name'}")
    if probabilities is None:
        probabilities = suffix == ".bin"
    if values.dtype.kind not in "fiu":
        raise ValueError(f"{path}: scores must be numbers, not {values.dtype}")
    values = values.astype(np.float32, copy=False)
    if not values.size:
        raise ValueError(f"{path}: the scores are empty, of shape {list(values.shape)}")
    if not np.isfinite(values).all():
        raise ValueError(f"{path}: the scores hold NaN or infinite values")
    if probabilities and not (values.min() >= 0 and values.max() <= 1.001):
        raise ValueError(
            f"{path}: probabilities must lie in 0..1, these lie in {values.min():.4g}..{values.max():.4g}; "
            "are they logits?"
        )
    return Scores(values, probabilities, str(path))


def _read_numpy(path: str | os.PathLike[str]) -> np.ndarray:
    values = load_numpy(path)
    if isinstance(values, dict):
        if "scores" not in values and len(values) != 1:
            raise ValueError(f"{path}: must hold one array, or one called 'scores'; it holds {', '.join(values)}")
        values = values["scores"] if "scores" in values else next(iter(values.values()))
    if values.ndim == 4 and values.shape[0] == 1:
        values = values[0]
    if values.ndim != 3:
        raise ValueError(f"{path}: scores must be [L, H, W] or [1, L, H, W], not {list(values.shape)}")
    return values


def load_numpy(path: str | os.PathLike[str]) -> np.ndarray | dict[str, np.ndarray]:
    """The array of an .npy file, or all arrays of an .npz by name.

    Raises OSError when the file cannot be read, ValueError naming it when it is neither, damaged, or holds objects."""
    try:
        # numpy leaves a file that it opens itself open where it holds no archive.
        with Path(path).open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded
            with loaded:
                arrays = {name: loaded[name] for name in loaded.files}
    except OSError:
        raise
    except Exception as error:  # numpy and zipfile raise ValueError, EOFError, BadZipFile, SyntaxError for broken files
        raise ValueError(f"{path}: no numpy file (.npy, .npz), or a damaged one") from error
    other = [name for name, values in arrays.items() if not isinstance(values, np.ndarray)]
    if other:
        raise ValueError(f"{path}: no .npz file; {other[0]} in it is no array")
    return arrays


def read_mat(path: str | os.PathLike[str]) -> np.ndarray:
    """Variable `data` of a MATLAB v5 file, dimensions [W, H, C(, 1)], as [C, H, W].

    Raises OSError when the file cannot be read, ValueError when it holds no such variable."""
    from scipy.io import loadmat, whosmat

    Path(path).open("rb").close()
    try:
        names = [name for name, _, _ in whosmat(os.fspath(path))]
        data = loadmat(os.fspath(path), variable_names=["data"]).get("data")
    except NotImplementedError as error:
        raise ValueError(f"{path}: a MATLAB 7.3 file; save it with -v6 or -v7") from error
    except Exception as error:  # scipy raises whatever its parser stumbles over
        raise ValueError(f"{path}: not a MATLAB file that can be read: {error}") from error
    if not isinstance(data, np.ndarray):
        raise ValueError(f"{path}: no variable 'data'; it holds {', '.join(names) or 'nothing'}")
    if data.ndim == 4 and data.shape[3] == 1:
        data = data[..., 0]
    if data.ndim == 2:  # MATLAB drops trailing axes of length 1
        data = data[..., None]
    if data.ndim != 3:
        raise ValueError(f"{path}: variable 'data' must be [W, H, C] or [W, H, C, 1], not {list(data.shape)}")
    return data.transpose(2, 1, 0)


def write_mat(values: np.ndarray, path: str | os.PathLike[str]) -> None:
    """Write [N, C, H, W] as variable `data`, class single, [W, H, C, N], as Caffe's MatWrite layer does.

    [C, H, W] is an N of 1."""
    from scipy.io import savemat

    data = np.asarray(values, np.float32)
    data = (data if data.ndim == 4 else data[None]).transpose(3, 2, 1, 0)
    with replacing(path) as temporary, temporary.open("wb") as file:
        savemat(file, {"data": data}, format="5")


def read_bin(path: str | os.PathLike[str]) -> np.ndarray:
    """A .bin file as [C, H, W]: float32 or int16, told apart by the file's size.

    Raises OSError when the file cannot be read, ValueError when header and size disagree."""
    content = Path(path).read_bytes()
    if len(content) < 12:
        raise ValueError(f"{path}: {len(content)} bytes, too short for the header of a .bin file (12)")
    rows, columns, channels = struct.unpack("<3i", content[:12])
    count = rows * columns * channels
    kinds: dict[int, np.dtype[Any]] = {4 * count: np.dtype("<f4"), 2 * count: np.dtype("<i2")}
    kind = kinds.get(len(content) - 12)
    if min(rows, columns, channels) <= 0 or kind is None:
        raise ValueError(
            f"{path}: the header says {rows} x {columns} x {channels} (rows, columns, channels), which "
            f"{len(content) - 12} bytes of values, float32 or int16, do not give"
        )
    values = np.frombuffer(content, kind, offset=12)
    return values.reshape(channels, columns, rows).transpose(0, 2, 1)


def write_bin(values: np.ndarray, path: str | os.PathLike[str]) -> None:
    """Write labels [H, W] as int16, or values [C, H, W] as float32, as the original programs do."""
    labels = values.ndim == 2
    blob = values[None] if labels else values
    channels, rows, columns = blob.shape
    ordered = np.ascontiguousarray(blob.transpose(0, 2, 1), "<i2" if labels else "<f4")
    with replacing(path) as temporary:
        temporary.write_bytes(struct.pack("<3i", rows, columns, channels) + ordered.tobytes())


def write_npy(values: np.ndarray, path: str | os.PathLike[str]) -> None:
    """Write any array as .npy."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, values)


def write_npz(arrays: Mapping[str, np.ndarray], path: str | os.PathLike[str]) -> None:
    """Write named arrays as .npz; unlike numpy.savez, any name may occur."""
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(values), allow_pickle=False)
