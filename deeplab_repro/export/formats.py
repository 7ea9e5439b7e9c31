"""A net, or a model without one, in the format that a file's name tells."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deeplab_repro.export.caffe import own_dialect
from deeplab_repro.files.arrays import write_npz
from deeplab_repro.files.atomic import replacing
from deeplab_repro.net.checkpoint import save_checkpoint
from deeplab_repro.net.network import CaffeNet
from prototxt_import import NetSpec, write_weights
from prototxt_import.binary.model_writer import check_weights
from prototxt_import.values import Array

CHECKPOINT, STATE, CAFFE, ARRAYS = ".safetensors", (".pt", ".pth"), (".caffemodel", ".h5"), ".npz"
# What each name promises, for people.
FORMATS = {
    ".safetensors": "checkpoint: weights, net and mean",
    ".pt, .pth": "the net's state_dict",
    ".caffemodel, .h5": "Caffe's model",
    ".npz": "arrays LAYER/0, LAYER/1, ...",
}


def check_format(path: str | os.PathLike[str], with_net: bool = True) -> str:
    """The format that a file's name tells.

    Args:
        path: The file.
        with_net: Whether the net is known, which a checkpoint and a state_dict need.

    Returns:
        The suffix, lower case.

    Raises:
        ValueError: Nothing is written under such a name, or it needs the net; the message says what to do.

    Example:
        >>> from deeplab_repro.export.formats import check_format
        >>> check_format("largefov.caffemodel.h5")
        '.h5'
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".prototxt":
        raise ValueError(f"{path}: deeplab export writes prototxts, with their model")
    if suffix == ".onnx":
        raise ValueError(f"{path}: deeplab export --onnx writes it")
    if suffix not in (CHECKPOINT, *STATE, *CAFFE, ARRAYS):
        known = "; ".join(f"{name} {what}" for name, what in FORMATS.items())
        raise ValueError(f"{path}: nothing is written under such a name; known are {known}")
    if not with_net and suffix in (CHECKPOINT, *STATE):
        raise ValueError(f"{path}: {suffix} needs the net; name its prototxt before the model, or write .npz or .h5")
    return suffix


def write_net_as(net: CaffeNet, path: str | os.PathLike[str], preprocessing: Mapping[str, Any] | None = None) -> str:
    """Write a net's weights in the format of the file's name; whole, or not at all.

    Args:
        net: The net.
        path: The file.
        preprocessing: What a checkpoint records beside, as for `save_checkpoint`.

    Returns:
        What was written, in words.

    Raises:
        CaffeFormatError: Caffe's model cannot express a layer.
        ValueError: As of `check_format`.
        OSError: The file cannot be written.

    Example:
        >>> import torch
        >>> from deeplab_repro import CaffeNet
        >>> from deeplab_repro.export.formats import write_net_as
        >>> from prototxt_import import layer, make_net
        >>> net = CaffeNet(make_net("n", {"x": (1, 3)}, [layer("InnerProduct", "fc", "x", "y", num_output=2)]))
        >>> write_net_as(net, "n.pth")
        'state_dict of the net'
        >>> net.load_state_dict(torch.load("n.pth"))
        <All keys matched successfully>
    """
    suffix = check_format(path)
    if suffix == CHECKPOINT:
        save_checkpoint(net, path, preprocessing)
        return "checkpoint"
    if suffix in STATE:
        with replacing(path) as temporary:
            torch.save({name: value.detach().cpu() for name, value in net.state_dict().items()}, temporary)
        return "state_dict of the net"
    return write_arrays_as(
        {name: [blob.detach().cpu().numpy() for blob in blobs] for name, blobs in net.params.items() if blobs},
        path,
        net.spec,
    )


def write_arrays_as(
    blobs: Mapping[str, Sequence[Array]], path: str | os.PathLike[str], spec: NetSpec | None = None
) -> str:
    """Write a model's blobs in the format of the file's name; whole, or not at all.

    Args:
        blobs: Arrays by layer name, in Caffe's blob order.
        path: The file: .npz, .caffemodel or .h5.
        spec: Their net, whose layers a .caffemodel then holds with their settings.

    Returns:
        What was written, in words.

    Raises:
        CaffeFormatError: Caffe's model cannot express a layer.
        ValueError: As of `check_format`.
        OSError: The file cannot be written.
    """
    suffix = check_format(path, with_net=False)
    if suffix == ARRAYS:
        arrays = {f"{name}/{i}": np.asarray(blob) for name, held in blobs.items() for i, blob in enumerate(held)}
        write_npz(arrays, path)
        return f"{len(arrays)} arrays"
    dialect = "v2" if spec is None else own_dialect([spec])
    union = dialect == "text"  # no one fork has all layers: they keep their names and blobs
    if spec is not None:
        check_weights(spec, path, "v2" if union else dialect, by_name=union)
    write_weights(blobs, spec, path, "v2" if union else dialect, by_name=union)
    return f"Caffe's model, dialect {dialect}" if suffix == ".caffemodel" else "Caffe's model in HDF5"
