"""Weights of PyTorch ports (.pth) by name tables, kept as data in zoo/ports.toml."""

from __future__ import annotations

import functools
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import torch
from torch import Tensor

from deeplab_repro.zoo.resnet101 import block_letter
from prototxt_import import NetSpec
from prototxt_import.binary.weights import read_weights, with_weights
from prototxt_import.errors import complain
from prototxt_import.values import Array

SUFFIXES = (".pth", ".pt", ".tar")
TABLES = Path(__file__).parent / "ports.toml"
# What checkpoints wrap a state dict in.
_WRAPPERS = ("state_dict", "model_state_dict", "model")
# Names that an error lists of each kind.
_LISTED = 4

Place = tuple[str, int]  # layer and blob


@dataclass(frozen=True)
class Port:
    """A table of zoo/ports.toml, whose comment says what the fields mean."""

    name: str
    source: str
    backbone: str
    prefixes: tuple[str, ...]
    rules: tuple[tuple[re.Pattern[str], str, int], ...]
    words: Mapping[str, Mapping[str, str]]
    ignored: tuple[re.Pattern[str], ...]
    first_block: int

    def place(self, key: str, classifier: str) -> Place | None:
        """Find where in a Caffe net a tensor belongs.

        Args:
            key: Its name, without prefix.
            classifier: The name of the net's score layer.

        Returns:
            Layer and blob; None where no rule knows it.
        """
        for pattern, layer, blob in self.rules:
            match = pattern.fullmatch(key)
            if not match:
                continue
            groups = {name: self.words.get(name, {}).get(word, word) for name, word in match.groupdict().items()}
            if "block" in groups:
                index = int(match["block"]) - self.first_block
                groups["letter"] = block_letter(int(groups["stage"]), index)
            return layer.format(**groups, classifier=classifier).format(classifier=classifier), blob
        return None

    def ignores(self, key: str) -> bool:
        """Whether a tensor is left out.

        Args:
            key: Its name, without prefix.

        Returns:
            The answer.
        """
        return any(pattern.fullmatch(key) for pattern in self.ignored)


@functools.cache
def ports() -> tuple[Port, ...]:
    """List the known ports.

    Returns:
        The ports, in the order of the file.
    """
    tables = tomllib.loads(TABLES.read_text("utf-8"))["port"]
    return tuple(
        Port(
            table["name"],
            table["source"],
            table["backbone"],
            tuple(table["prefixes"]),
            tuple((re.compile(rule["key"]), rule["layer"], rule["blob"]) for rule in table["rule"]),
            table.get("words", {}),
            tuple(map(re.compile, table.get("ignored", ()))),
            table.get("first_block", 0),
        )
        for table in tables
    )


def attach_weights(spec: NetSpec, path: str | os.PathLike[str]) -> NetSpec:
    """Give a net the blobs of a Caffe model, or of a PyTorch port where the file's name says so (see SUFFIXES).

    Args:
        spec: The net.
        path: The file.

    Returns:
        The net with weights.

    Raises:
        CaffeFormatError: The file is neither, or its blobs do not fit.
        OSError: The file cannot be read.
    """
    return with_weights(spec, read_blobs(spec, path), os.fspath(path))


def read_blobs(spec: NetSpec, path: str | os.PathLike[str]) -> Mapping[str, Sequence[Array]]:
    """Read a Caffe model, or a PyTorch port where the file's name says so (see SUFFIXES).

    Args:
        spec: The net whose layers a port's tensors are for.
        path: The file.

    Returns:
        Arrays by layer name, in Caffe's blob order.

    Raises:
        CaffeFormatError: The file is neither.
        OSError: The file cannot be read.
    """
    return read_port(spec, path) if Path(path).suffix in SUFFIXES else read_weights(os.fspath(path))


def read_port(spec: NetSpec, path: str | os.PathLike[str]) -> dict[str, list[Array]]:
    """Read a .pth file of any port that ports.toml knows. It is read with weights_only: nothing in it is run.

    Args:
        spec: The zoo's net that it is for.
        path: The file.

    Returns:
        Arrays by layer name, in Caffe's blob order.

    Raises:
        CaffeFormatError: The file is none or holds no tensors, or something does not match: names no table knows,
            layers without tensors, other shapes.
    """
    source = os.fspath(path)
    tensors = read_state_dict(source)
    return own_tensors(spec, tensors) or place_tensors(spec, tensors, source)


def read_state_dict(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read the tensors of a .pth file, out of what wraps them.

    Args:
        path: The file.

    Returns:
        Tensors by name.

    Raises:
        CaffeFormatError: The file is none, or holds no tensors by name.
    """
    source = os.fspath(path)
    try:
        content: Any = torch.load(source, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # unpickling fails in as many ways as there are files
        reason = " ".join(str(error).split())[:160]
        raise complain(f"not a file of plain tensors, or cut short: {reason}", source=source) from error
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    tensors = {
        str(key).removeprefix("module."): value for key, value in content.items() if isinstance(value, Tensor)
    } if isinstance(content, Mapping) else {}  # fmt: skip
    if not tensors:
        raise complain("holds no tensors by name; a state dict is needed", source=source)
    return tensors


def own_tensors(spec: NetSpec, tensors: Mapping[str, Tensor]) -> dict[str, list[Array]]:
    """Take the tensors of a net's own state_dict, as `deeplab convert -o NET.pth` and `torch.save` write it.

    Args:
        spec: The net.
        tensors: By name, in the order in which the state_dict has them.

    Returns:
        Arrays by layer name, in Caffe's blob order; nothing where the names are not those of a CaffeNet.

    Example:
        >>> from deeplab_repro import CaffeNet
        >>> from deeplab_repro.zoo.ports import own_tensors
        >>> from prototxt_import import layer, make_net
        >>> net = CaffeNet(make_net("n", {"x": (1, 2)}, [layer("InnerProduct", "fc.1", "x", "y", num_output=3)]))
        >>> {name: len(blobs) for name, blobs in own_tensors(net.spec, net.state_dict()).items()}
        {'fc.1': 2}
    """
    stored: dict[str, list[Array]] = {}
    for key, value in tensors.items():
        match = re.fullmatch(r"layers\.([^.]+)\.[^.]+", key)
        # Names torch refuses are percent-encoded there.
        name = unquote(match[1]) if match is not None else ""
        if not spec.param_shapes.get(name):
            return {}
        stored.setdefault(name, []).append(np.asarray(value.detach().float().numpy()))
    return stored


def place_tensors(spec: NetSpec, tensors: Mapping[str, Tensor], source: str) -> dict[str, list[Array]]:
    """`read_port` for tensors at hand.

    Args:
        spec: The zoo's net that they are for.
        tensors: By name.
        source: Their origin, for errors.

    Returns:
        Arrays by layer name, in Caffe's blob order.

    Raises:
        CaffeFormatError: Something does not match.
    """
    classifier = _classifier(spec, source)
    best = max((_sorted(port, prefix, tensors, classifier) for port in ports() for prefix in port.prefixes), key=len)
    unknown = [key for key in tensors if key not in best.known]
    if not best.places:
        known = ", ".join(port.name for port in ports())
        raise complain(f"no table knows its names ({_some(list(tensors))}); known are {known}", source=source)
    wanted = {
        (layer.name, index): shape
        for layer in spec.layers
        for index, shape in enumerate(spec.param_shapes.get(layer.name, ()))
    }
    shared = _sharers(spec)
    arrays = {place: np.asarray(tensors[key].detach().float().numpy()) for place, key in best.places.items()}
    for name, blobs in _factors(spec, arrays):
        arrays[name] = blobs
    problems = [
        ("no such tensor in the table", unknown),
        ("no such layer in the net", [best.places[place] for place in best.places if place not in wanted]),
        ("missing", [f"{layer}/{index}" for layer, index in wanted if (layer, index) not in {*arrays, *shared}]),
        (
            "of another shape",
            [
                f"{best.places[place]} {list(array.shape)} for {place[0]} {list(wanted[place])}"
                for place, array in arrays.items()
                if place in wanted and tuple(array.shape) != wanted[place]
            ],
        ),
    ]
    told = [f"{len(names)} {fault} ({_some(names)})" for fault, names in problems if names]
    if told:
        raise complain(f"tensors named as in {best.port.name} do not fit {spec.name}: {'; '.join(told)}", source=source)
    stored: dict[str, list[Array]] = {}
    for layer, _ in sorted(arrays):
        stored[layer] = [
            array for place, array in sorted(arrays.items(), key=lambda pair: pair[0]) if place[0] == layer
        ]
    return stored


@dataclass(frozen=True)
class _Sorting:
    """Tensor names by their places under one port and prefix; known: those and the ignored ones."""

    port: Port
    places: dict[Place, str]
    known: frozenset[str]

    def __len__(self) -> int:
        return len(self.known) if self.places else 0


def _sorted(port: Port, prefix: str, tensors: Mapping[str, Tensor], classifier: str) -> _Sorting:
    places: dict[Place, str] = {}
    known = set()
    for key in tensors:
        bare = key.removeprefix(prefix) if key.startswith(prefix) else ""
        place = port.place(bare, classifier)
        if place is not None:
            places.setdefault(place, key)
        if place is not None or port.ignores(bare):
            known.add(key)
    return _Sorting(port, places, frozenset(known))


def _classifier(spec: NetSpec, source: str) -> str:
    """The name of the net's score layer, without the mark of an ASPP branch or of a scale."""
    for layer in spec.layers:
        match = re.match(r"(fc[18]_.+?)(_c?\d+)?$", layer.name) if layer.type == "Convolution" else None
        if match:
            return match[1]
    raise complain(
        f"{spec.name} has no score layer fc8_... or fc1_...; only zoo nets take a port's weights", source=source
    )


def _sharers(spec: NetSpec) -> set[Place]:
    """Blobs that belong to an earlier layer."""
    owners: set[str] = set()
    sharers = set()
    for layer in spec.layers:
        for index, param in enumerate(layer.params):
            if param.name and param.name in owners:
                sharers.add((layer.name, index))
            elif param.name:
                owners.add(param.name)
    return sharers


def _factors(spec: NetSpec, arrays: Mapping[Place, Array]) -> list[tuple[Place, Array]]:
    """Caffe's third BatchNorm blob, 1, beside statistics that are not scaled by it."""
    batch_norms = [layer.name for layer in spec.layers if layer.type == "BatchNorm"]
    return [((name, 2), np.ones(1, np.float32)) for name in batch_norms if (name, 0) in arrays]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
