"""The net that a weight file fits: the published one, or the same net with other numbers of channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from deeplab_repro import zoo
from deeplab_repro.net.network import CaffeNet
from deeplab_repro.predict.opening import require_weights
from deeplab_repro.zoo.ports import read_blobs
from prototxt_import import NetSpec, make_net
from prototxt_import.binary.weights import with_weights
from prototxt_import.values import Array


def fitting_net(path: Path, model: str, classes: str, build: bool = True) -> tuple[CaffeNet | None, str]:
    """Give a net of the zoo the weights of a file.

    A stand-in has the layers of the original and other numbers of channels, which are read off the file.

    Args:
        path: The weight file.
        model: The zoo's net.
        classes: A key of zoo.DATASETS.
        build: Whether the net is made; False to learn only what tells a stand-in.

    Returns:
        The net, or None, and what tells a stand-in from the original, empty for the original.

    Raises:
        CaffeFormatError: The file is no model.
        ValueError: The file lacks layers or has another number of classes.
    """
    published = zoo.spec(model, dataset=classes)
    stored = read_blobs(published, path)
    spec = with_channels(published, stored, str(path))
    outputs = spec.blobs[zoo.score_blob(spec)][1]
    if outputs != zoo.DATASETS[classes]:
        raise ValueError(f"{path}: scores {outputs} classes, {classes} has {zoo.DATASETS[classes]}")
    spec = with_weights(spec, stored, str(path))
    require_weights(spec, path, model)
    return CaffeNet(spec) if build else None, _difference(spec, published)


def with_channels(spec: NetSpec, stored: Mapping[str, Sequence[Array]], source: str) -> NetSpec:
    """Give a net the output channels that its convolutions' stored weights have.

    Args:
        spec: The net.
        stored: Weights by layer.
        source: Their file, for errors.

    Returns:
        The net, shapes inferred again.

    Raises:
        ValueError: A convolution has no weights.
        CaffeFormatError: A layer does not fit; the message names the first.
    """
    by_name: dict[str, int] = {}
    layers = []
    for layer in spec.layers:
        if layer.type == "Convolution":
            shared = layer.params[0].name
            blobs = stored.get(layer.name, ())
            outputs = int(blobs[0].shape[0]) if blobs and blobs[0].ndim == 4 else by_name.get(shared)
            if outputs is None:
                raise ValueError(f"{source}: holds no weights for the layer {layer.name} of {spec.name}")
            if shared:
                by_name.setdefault(shared, outputs)
            layer = replace(layer, options=replace(layer.options, num_output=outputs))
        layers.append(layer)
    return make_net(spec.name, spec.inputs, layers, spec.phase, spec.dialect)


def _difference(spec: NetSpec, published: NetSpec) -> str:
    for layer, shapes in published.param_shapes.items():
        if spec.param_shapes[layer] != shapes:
            ours, theirs = ("x".join(map(str, net.param_shapes[layer][0])) for net in (spec, published))
            return f"{layer} is {ours}, the original's {theirs}"
    return ""
