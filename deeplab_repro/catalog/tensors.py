"""What a weight file must hold, by the net it is for, and whether a file does."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deeplab_repro.catalog.entries import Entry
from prototxt_import.binary.weights import read_weights
from prototxt_import.wiring import bare_shape

if TYPE_CHECKING:
    from prototxt_import.spec import NetSpec
    from prototxt_import.values import Array, Shape

_MOST_NAMED = 3


@dataclass(frozen=True)
class Expected:
    """Tensors a file must hold.

    Args:
        shapes: By layer, in Caffe's blob order; empty for a file of no net of the zoo: then its blobs and numbers are
            counted.
        blobs: How many blobs those are.
        parameters: How many numbers those are.

    Example:
        >>> from deeplab_repro import catalog
        >>> catalog.expected_tensors(catalog.read_catalog().entry("vgg16")).blobs
        32
    """

    shapes: Mapping[str, tuple[Shape, ...]]
    blobs: int
    parameters: int


def net_of(entry: Entry, phase: str = "TEST") -> NetSpec:
    """The zoo's net that an entry's weights are for, without weights.

    Args:
        entry: The entry.
        phase: "TRAIN" or "TEST".

    Returns:
        The net.

    Raises:
        ValueError: The entry belongs to no net.
    """
    from deeplab_repro import zoo

    if not entry.model:
        raise ValueError(f"{entry.name}: belongs to no net of the zoo; it is a file to start from ({entry.note})")
    return zoo.spec(entry.model, dataset=entry.classes, phase=phase)


def expected_tensors(entry: Entry) -> Expected:
    """What must be in an entry's file.

    A blob that layers share by name is asked for once, under the first of them: that one is always written.

    Args:
        entry: The entry.

    Returns:
        The tensors.

    Example:
        >>> from deeplab_repro import catalog
        >>> entry = catalog.Entry("mine", model="deeplab_largefov")
        >>> catalog.expected_tensors(entry).shapes["fc6"]
        ((1024, 512, 3, 3), (1024,))
    """
    if not entry.model:
        return Expected({}, entry.blobs, entry.parameters)
    return _tensors_of(entry.model, entry.classes, entry.requires)


@functools.cache
def _tensors_of(model: str, classes: str, requires: str) -> Expected:
    from deeplab_repro import zoo

    net = zoo.spec(model, dataset=classes)
    # The layers after a VGG's backbone are called fc6 to fc8, those after a ResNet's fc1.
    left_out = "fc" if requires == "backbone" or "resnet" in model else "fc8"
    shapes: dict[str, tuple[Shape, ...]] = {}
    owned: set[str] = set()
    for layer in net.layers:
        blobs = net.param_shapes.get(layer.name, ())
        names = [param.name for param in layer.params]
        if not blobs or (names and names[0] and set(names) <= owned):
            continue
        owned.update(names)
        if requires == "all" or not layer.name.startswith(left_out):
            shapes[layer.name] = tuple(blobs)
    count = sum(math.prod(shape) for blobs in shapes.values() for shape in blobs)
    return Expected(shapes, sum(map(len, shapes.values())), count)


def check_tensors(entry: Entry, path: str | os.PathLike[str]) -> dict[str, Sequence[Array]]:
    """The blobs of a weight file, once it is known to hold what the entry asks for; more layers may be there.

    Args:
        entry: The entry.
        path: The file.

    Returns:
        Arrays by layer name, in Caffe's blob order.

    Raises:
        CaffeFormatError: The file is no model.
        ValueError: Something is missing or has another shape; the message names it.

    Example:
        >>> import numpy as np
        >>> from deeplab_repro import catalog
        >>> from prototxt_import import write_weights
        >>> write_weights({"fc": [np.ones((2, 3)), np.ones(2)]}, None, "mine.caffemodel")
        >>> list(catalog.check_tensors(catalog.Entry("mine", blobs=2, parameters=8), "mine.caffemodel"))
        ['fc']
    """
    stored = read_tensors(entry, path)
    complaints = list(differences(entry, stored))
    if complaints:
        more = len(complaints) - _MOST_NAMED
        tail = f"; and {more} more" if more > 0 else ""
        raise ValueError(f"{path}: not the weights of {entry.name}: {'; '.join(complaints[:_MOST_NAMED])}{tail}")
    return stored


def read_tensors(entry: Entry, path: str | os.PathLike[str]) -> dict[str, Sequence[Array]]:
    """Read a Caffe model, or a PyTorch port's .pth under the names of the entry's net.

    Args:
        entry: The entry.
        path: The file.

    Returns:
        Arrays by layer name, in Caffe's blob order.

    Raises:
        CaffeFormatError: The file is neither.
    """
    from deeplab_repro.zoo import ports

    if os.fspath(path).endswith(ports.SUFFIXES):
        return dict(ports.read_port(net_of(entry), path))
    return dict(read_weights(os.fspath(path)))


def differences(entry: Entry, stored: Mapping[str, Sequence[Array]]) -> list[str]:
    """Tell what of an entry's tensors a file lacks or holds in another shape.

    Leading axes of size 1 do not count, as in Caffe: v1 files write a bias as [1, 1, 1, N].

    Args:
        entry: The entry.
        stored: Arrays by layer name.

    Returns:
        Complaints in words; none where it fits.
    """
    expected = expected_tensors(entry)
    if not expected.shapes:
        every = [blob for blobs in stored.values() for blob in blobs]
        blobs, parameters = len(every), sum(blob.size for blob in every)
        if (blobs, parameters) == (expected.blobs, expected.parameters):
            return []
        return [
            f"it holds {blobs} tensors of {parameters:,} numbers, should be {expected.blobs} of {expected.parameters:,}"
        ]
    complaints = []
    for layer, shapes in expected.shapes.items():
        arrays = stored.get(layer, ())
        if not arrays:
            complaints.append(f"layer {layer!r} is missing")
        elif len(arrays) != len(shapes):
            complaints.append(f"layer {layer!r} has {len(arrays)} tensors, should be {len(shapes)}")
        else:
            complaints += [
                f"layer {layer!r} has a tensor {_text(blob.shape)}, should be {_text(shape)}"
                for blob, shape in zip(arrays, shapes, strict=True)
                if bare_shape(blob.shape) != bare_shape(shape)
            ]
    return complaints


def _text(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "of one number"
