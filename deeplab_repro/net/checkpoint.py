"""Networks in one safetensors file: tensors under `<layer>/<i>`, and in the metadata the prototxt that reads them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from deeplab_repro.files.atomic import replacing
from deeplab_repro.net.network import CaffeNet
from prototxt_import import CaffeFormatError, NetSpec, net_text, parse_net
from prototxt_import.binary.weights import with_weights
from prototxt_import.prototxt.writer import nearest_dialect
from prototxt_import.values import Array

_METADATA = ("prototxt", "phase", "dialect", "preprocessing")


def save_checkpoint(
    net: CaffeNet | NetSpec, path: str | os.PathLike[str], preprocessing: Mapping[str, Any] | None = None
) -> None:
    """Write a net, or a spec with its weights, to a safetensors file; whole, or not at all.

    A blob that several layers share is stored once, under the first of them.

    Args:
        net: The net.
        path: The file.
        preprocessing: What belongs to the weights (mean, class names, CRF parameters), anything JSON can hold.

    Raises:
        ValueError: The net has no text form.
        OSError: The file cannot be written.

    Example:
        >>> from deeplab_repro import CaffeNet, load_checkpoint, save_checkpoint
        >>> from prototxt_import import layer, make_net
        >>> net = CaffeNet(make_net("n", {"x": (1, 3)}, [layer("InnerProduct", "fc", "x", "y", num_output=2)]))
        >>> save_checkpoint(net, "net.safetensors", {"mean_bgr": [104.0, 117.0, 123.0]})
        >>> load_checkpoint("net.safetensors").params["fc"][0].equal(net.params["fc"][0])
        True
    """
    spec = net if isinstance(net, NetSpec) else net.spec
    # The union of all dialects holds every layer but the v1 fork's own rules.
    dialect = "v1" if spec.dialect == "v1" and nearest_dialect(spec, "v1") == "v1" else "text"
    metadata = {
        "prototxt": net_text(spec, dialect),
        "phase": spec.phase,
        "dialect": spec.dialect,
        "preprocessing": json.dumps(dict(preprocessing or {})),
    }
    tensors = _spec_tensors(spec) if isinstance(net, NetSpec) else _net_tensors(net)
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata)


def _net_tensors(net: CaffeNet) -> dict[str, Tensor]:
    return {key: blob.detach().cpu().contiguous() for key, blob in _stored_blobs(net).items()}


def _stored_blobs(net: CaffeNet) -> dict[str, torch.nn.Parameter]:
    """The net's blobs by their key in the file, each once: under the first layer that has it."""
    stored, seen = {}, set()
    for name, blobs in net.params.items():
        for i, blob in enumerate(blobs):
            if id(blob) not in seen:
                seen.add(id(blob))
                stored[f"{name}/{i}"] = blob
    return stored


def _spec_tensors(spec: NetSpec) -> dict[str, Tensor]:
    tensors, seen = {}, set()
    for layer in spec.layers:
        for i, array in enumerate(spec.weights.get(layer.name, ())):
            shared = layer.params[i].name
            if not shared or shared not in seen:
                tensors[f"{layer.name}/{i}"] = torch.from_numpy(np.array(array, dtype=np.float32))
            seen.add(shared)
    return tensors


def read_checkpoint(path: str | os.PathLike[str]) -> tuple[CaffeNet, dict[str, Any]]:
    """The net of a file that `save_checkpoint` wrote, in the phase it was saved in, and its record of preprocessing.

    Args:
        path: The file.

    Returns:
        The net and the record.

    Raises:
        CaffeFormatError: The file is no such checkpoint, its tensors do not fit its net, or the record is no JSON
            object.

    Example:
        >>> from deeplab_repro.net.checkpoint import read_checkpoint, save_checkpoint
        >>> from prototxt_import import layer, make_net
        >>> save_checkpoint(make_net("n", {"x": (1,)}, [layer("ReLU", "r", "x", "y")]), "n.safetensors", {"scale": 0.5})
        >>> net, record = read_checkpoint("n.safetensors")
        >>> record["scale"]
        0.5
    """
    name = os.fspath(path)
    metadata, tensors = _read(name)
    return _net(name, metadata, tensors), _preprocessing(name, metadata)


def load_checkpoint(path: str | os.PathLike[str]) -> CaffeNet:
    """The net of a file that `save_checkpoint` wrote, in the phase it was saved in.

    Args:
        path: The file.

    Returns:
        The net.

    Raises:
        CaffeFormatError: The file is no such checkpoint, or its tensors do not fit its net.

    Example:
        >>> from deeplab_repro import load_checkpoint, save_checkpoint
        >>> from prototxt_import import layer, make_net
        >>> save_checkpoint(make_net("n", {"x": (1,)}, [layer("ReLU", "r", "x", "y")]), "n.safetensors")
        >>> load_checkpoint("n.safetensors").inputs
        {'x': (1,)}
    """
    name = os.fspath(path)
    return _net(name, *_read(name))


def _net(name: str, metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> CaffeNet:
    spec = parse_net(metadata["prototxt"], source=name, phase=metadata["phase"], dialect=metadata["dialect"])
    if any(layer.params and layer.name not in spec.param_shapes for layer in spec.layers):
        # Only data tell the shapes of the bottoms: then the tensors tell those of the parameters.
        spec = with_weights(spec, _by_layer(tensors), name)
    net = CaffeNet(replace(spec, missing_weights=(), unused_weights=()))
    expected = _stored_blobs(net)
    if expected.keys() != tensors.keys():
        odd = sorted(expected.keys() ^ tensors.keys())
        raise CaffeFormatError(f"{name}: tensors and net do not belong together; check {', '.join(odd[:5])}")
    for key, blob in expected.items():
        if tensors[key].shape != blob.shape:
            shape = list(tensors[key].shape)
            raise CaffeFormatError(f"{name}: {key} has shape {shape}, its net needs {list(blob.shape)}")
        with torch.no_grad():
            blob.copy_(tensors[key])
    return net


def _by_layer(tensors: Mapping[str, Tensor]) -> dict[str, list[Array]]:
    """The tensors as arrays by layer, in Caffe's order."""
    indices: dict[str, list[int]] = {}
    for key in tensors:
        layer, _, index = key.rpartition("/")
        if index.isdecimal():
            indices.setdefault(layer, []).append(int(index))
    return {layer: [tensors[f"{layer}/{i}"].numpy() for i in sorted(own)] for layer, own in indices.items()}


def _preprocessing(name: str, metadata: Mapping[str, str]) -> dict[str, Any]:
    try:
        record = json.loads(metadata["preprocessing"])
    except ValueError as error:
        raise CaffeFormatError(f"{name}: its preprocessing is no JSON: {error}") from error
    if not isinstance(record, dict):
        raise CaffeFormatError(f"{name}: its preprocessing is no JSON object")
    return record


def _read(name: str) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of the file."""
    try:
        with safe_open(name, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
    except SafetensorError as error:
        raise CaffeFormatError(f"{name}: not a safetensors file, or cut short: {error}") from error
    missing = [key for key in _METADATA if key not in metadata]
    if missing:
        raise CaffeFormatError(
            f"{name}: not a checkpoint of this package: its metadata lacks {', '.join(missing)}; "
            "make one with `deeplab convert`"
        )
    return metadata, tensors
