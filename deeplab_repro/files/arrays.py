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
    """A score map out of a file.

    Args:
        values: float32 [L, H, W].
        probabilities: Whether they are such, else logits.
        source: The file.
    """

    values: np.ndarray
    probabilities: bool
    source: str

    def cropped(self, height: int, width: int) -> Scores:
        """Cut out the top left part, which is the image's.

        .mat files hold the padded size of the network's input, other formats the image's own: those must match.

        Args:
            height: Rows of the image.
            width: Columns of the image.

        Returns:
            The scores of the image's pixels.

        Raises:
            ValueError: The scores are smaller than the image or, of other formats, of another size.
        """
        have = self.values.shape[1:]
        padded = Path(self.source).suffix.lower() == ".mat"
        if (have[0] < height or have[1] < width) if padded else have != (height, width):
            # A usual mistake: the axes are there, in another order.
            turned = {height, width} <= set(self.values.shape) and have != (height, width)
            order = "[width, height, labels], as Caffe wrote it" if padded else "[labels, height, width]"
            raise ValueError(
                f"{self.source}: scores of {have[0]} x {have[1]} pixels (height x width) do not fit the image's "
                f"{height} x {width}" + (f"; the axes have to be {order}" if turned else "")
            )
        return Scores(self.values[:, :height, :width], self.probabilities, self.source)


def read_scores(path: str | os.PathLike[str], probabilities: bool | None = None) -> Scores:
    """Read a score map.

    Args:
        path: A .npy or .npz file ([L, H, W] or [1, L, H, W]; of several arrays the one called `scores`), .mat or .bin.
        probabilities: Whether the values are such; None takes .bin for probabilities and everything else for logits, as
            the original programs do.

    Returns:
        The scores.

    Raises:
        OSError: The file cannot be read.
        ValueError: Its contents are no score map, are empty, or hold NaN or infinite values.
    """
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
    """Read an .npy or .npz file. What it holds is never run.

    Args:
        path: The file.

    Returns:
        The array of an .npy file, or all arrays of an .npz by name.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is neither, damaged, or holds objects.
    """
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
    """Read the variable `data` of a MATLAB v5 file, dimensions [W, H, C(, 1)].

    Args:
        path: The file.

    Returns:
        [C, H, W], of the stored type.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file holds no such variable.

    Source:
        mat_read_layer.cpp and matio_io.cpp of DeepLab's forks.
    """
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
    """Write the variable `data`, class single, [W, H, C, N], as Caffe's MatWrite layer does.

    Args:
        values: [N, C, H, W], or [C, H, W] for an N of 1.
        path: The file.

    Raises:
        OSError: The file cannot be written.

    Example:
        >>> import numpy as np
        >>> from deeplab_repro.files.arrays import read_mat, write_mat
        >>> write_mat(np.zeros((21, 41, 65)), "scores.mat")
        >>> read_mat("scores.mat").shape
        (21, 41, 65)
    """
    from scipy.io import savemat

    data = np.asarray(values, np.float32)
    data = (data if data.ndim == 4 else data[None]).transpose(3, 2, 1, 0)
    with replacing(path) as temporary, temporary.open("wb") as file:
        savemat(file, {"data": data}, format="5")


def read_bin(path: str | os.PathLike[str]) -> np.ndarray:
    """Read a .bin file of the original programs.

    Args:
        path: The file.

    Returns:
        [C, H, W], float32 or int16, which the file's size tells apart.

    Raises:
        OSError: The file cannot be read.
        ValueError: Header and size disagree.
    """
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
    """Write a .bin file as the original programs do.

    Args:
        values: Labels [H, W], written as int16, or values [C, H, W], written as float32.
        path: The file.

    Raises:
        OSError: The file cannot be written.
    """
    labels = values.ndim == 2
    blob = values[None] if labels else values
    channels, rows, columns = blob.shape
    ordered = np.ascontiguousarray(blob.transpose(0, 2, 1), "<i2" if labels else "<f4")
    with replacing(path) as temporary:
        temporary.write_bytes(struct.pack("<3i", rows, columns, channels) + ordered.tobytes())


def write_npy(values: np.ndarray, path: str | os.PathLike[str]) -> None:
    """Write an .npy file.

    Args:
        values: Any array.
        path: The file.

    Raises:
        OSError: The file cannot be written.
    """
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, values)


def write_npz(arrays: Mapping[str, np.ndarray], path: str | os.PathLike[str]) -> None:
    """Write an .npz file.

    Args:
        arrays: By name; unlike numpy.savez, any name may occur.
        path: The file.

    Raises:
        OSError: The file cannot be written.
    """
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(values), allow_pickle=False)
