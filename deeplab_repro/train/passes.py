"""Forward passes as Caffe runs them: data layers feed, seeds draw, and the blobs of all passes are kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deeplab_repro.data.feeds.feed import reader_of
from deeplab_repro.data.feeds.feeds import Feeds, open_feeds
from deeplab_repro.net.load import load_caffe
from deeplab_repro.net.network import CaffeNet
from deeplab_repro.train.masks import DropoutMasks
from deeplab_repro.train.nets import sized
from prototxt_import import read_net


def load_net(
    file: Path, weights: Path | None, given: Sequence[str] = (), seed: int | None = None, **read: Any
) -> CaffeNet:
    """A net from its files; where only the data tell the shapes of its parameters, by a look at the first batch.

    Args:
        file: The prototxt, or a checkpoint.
        weights: The .caffemodel, or None.
        given: Inputs that no data layer need read.
        seed: Of the data layers, as Caffe's random_seed.
        read: Phase, variables, dialect, level and stages, as for `load_caffe`.

    Returns:
        The net.

    Raises:
        ValueError: As `load_caffe` does.
        OSError: A file cannot be read.
    """
    if file.suffix == ".safetensors":
        return load_caffe(file, weights, **read)
    spec = read_net(file, weights=weights, **read)
    if any(layer.params and layer.name not in spec.param_shapes for layer in spec.layers):
        with open_feeds(spec, seed, given=tuple(given)) as feeds:
            spec = sized(spec, feeds)
    return CaffeNet(spec)


@torch.no_grad()
def run_passes(
    net: CaffeNet,
    arrays: Mapping[str, np.ndarray],
    blobs: str | Sequence[str] | None,
    passes: Iterable[object],
    seed: int | None = None,
) -> dict[str, np.ndarray]:
    """Run a net forward.

    Args:
        net: The net.
        arrays: Inputs by name, float32; data layers give the others.
        blobs: Those to keep, as a net is called.
        passes: As many as there are runs.
        seed: Of data layers and dropout masks, as Caffe's random_seed; None for torch's own draws.

    Returns:
        The blobs by name, float32, those of the passes joined along axis 0; of "all" the inputs, too.

    Raises:
        ValueError: An input is neither given nor fed, and as the net does.
    """
    device = next((parameter.device for parameter in net.parameters()), torch.device("cpu"))
    kept: dict[str, list[np.ndarray]] = {}
    with _feeds(net, arrays, seed) as feeds:
        fixed = {name: torch.from_numpy(values) for name, values in arrays.items() if name not in feeds.tops}
        _check_inputs(net, (*fixed, *feeds.tops))
        dropout = None if seed is None else DropoutMasks(net, feeds.rng)
        for _ in passes:
            feed = {name: value.to(device) for name, value in {**fixed, **feeds.next()}.items()}
            shapes = {name: tuple(value.shape) for name, value in feed.items()}
            given = net(**feed, blobs=blobs, masks=None if dropout is None else dropout.draw(shapes))
            # With its inputs among them, the file of all blobs is one that `deeplab diff` can read.
            for name, value in ({**feed, **given} if blobs == "all" else given).items():
                kept.setdefault(name, []).append(value.detach().float().cpu().numpy())
    return {
        name: np.concatenate(values) if values[0].ndim else np.array([value.item() for value in values])
        for name, values in kept.items()
    }


def _feeds(net: CaffeNet, arrays: Mapping[str, np.ndarray], seed: int | None) -> Feeds:
    """The data layers whose tops are not all given; one that a program feeds takes its batches from arrays that are."""
    readers = ((layer, reader_of(layer.type)) for layer in net.spec.layers)
    memory = {top for layer, reader in readers if reader is not None and reader.from_program for top in layer.tops}
    rows = {name: values for name, values in arrays.items() if name in memory}
    return open_feeds(net.spec, seed, arrays=rows, given=tuple(set(arrays) - memory))


def _check_inputs(net: CaffeNet, known: tuple[str, ...]) -> None:
    """ValueError unless everything the net reads is given or read from files."""
    lacking = [f"{name} {list(shape)}" for name, shape in net.inputs.items() if name not in known]
    if lacking:
        raise ValueError(f"the net needs --input for {', '.join(lacking)}")
