"""read_net: a prototxt in any dialect and the blobs of a model file, to one NetSpec."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from prototxt_import.binary.weights import attach, read_weights
from prototxt_import.prototxt.net import net_of_text
from prototxt_import.prototxt.text import load
from prototxt_import.spec import NetSpec


def read_net(
    path: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None = None,
    phase: str = "TEST",
    variables: Mapping[str, str] | None = None,
    dialect: str = "auto",
    level: int = 0,
    stages: Sequence[str] = (),
) -> NetSpec:
    """Read a prototxt, and with `weights` a model file whose blobs are checked against it and mapped, not copied.

    Args:
        path: The prototxt.
        weights: The .caffemodel or .caffemodel.h5, or None.
        phase: "TRAIN" or "TEST"; with `level` and `stages` the state that include and exclude rules are held against.
        variables: Values of the file's ${NAME} placeholders.
        dialect: "auto", or one of "v0", "v1", "v2", "x2", "bvlc", "hed", "segnet", "enet", "pspnet" and "crfrnn". It
            decides where forks mean different things by one text; "auto" puts what it took into the spec's notes.
        level: The state's level.
        stages: The state's stages.

    Returns:
        The net.

    Raises:
        CaffeFormatError: The files are wrong; one line with file, line, layer and remedy as far as they are known.

    Source:
        Caffe's UpgradeNetAsNeeded (util/upgrade_proto.cpp) and Net::FilterNet (net.cpp).

    Example:
        >>> from pathlib import Path
        >>> from prototxt_import import read_net
        >>> text = 'input: "x" input_shape { dim: 1 } layer { name: "${ID}" type: "ReLU" bottom: "x" top: "y" }'
        >>> _ = Path("net.prototxt").write_text(text)
        >>> read_net("net.prototxt", variables={"ID": "relu"}).layers[0].name
        'relu'
    """
    source = str(path)
    return parse_net(load(path, variables), source, weights, phase, variables, dialect, level, stages)


def parse_net(
    text: str,
    source: str = "<text>",
    weights: str | os.PathLike[str] | None = None,
    phase: str = "TEST",
    variables: Mapping[str, str] | None = None,
    dialect: str = "auto",
    level: int = 0,
    stages: Sequence[str] = (),
) -> NetSpec:
    """`read_net` for text at hand, placeholders already replaced.

    Args:
        text: The prototxt.
        source: What stands for the file name in errors.
        weights: As in `read_net`.
        phase: As in `read_net`.
        variables: What the placeholders were replaced by; the net remembers them.
        dialect: As in `read_net`.
        level: As in `read_net`.
        stages: As in `read_net`.

    Returns:
        The net.

    Raises:
        CaffeFormatError: As `read_net` does.

    Example:
        >>> from prototxt_import import parse_net
        >>> net = parse_net('input: "x" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 } '
        ...                 'layer { name: "c" type: "Convolution" bottom: "x" top: "y" '
        ...                 'convolution_param { num_output: 4 kernel_size: 3 dilation: 2 } }')
        >>> net.blobs["y"]
        (1, 4, 4, 4)
    """
    counts: dict[str, int] = {}

    def stored(name: str) -> int:
        if weights is not None and not counts:
            counts.update({layer: len(blobs) for layer, blobs in read_weights(weights).items()})
        return counts.get(name, 0)

    spec = net_of_text(text, source, phase, variables, dialect, level, stages, stored)
    return spec if weights is None else attach(spec, weights)
