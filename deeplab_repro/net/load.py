"""Files to nets: original ones, or a checkpoint."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from deeplab_repro.net.checkpoint import load_checkpoint
from deeplab_repro.net.network import MAX_PARAMETERS, CaffeNet
from prototxt_import import read_net

PathLike = str | os.PathLike[str]


def load_caffe(
    prototxt: PathLike,
    weights: PathLike | None = None,
    phase: str = "TEST",
    variables: Mapping[str, str] | None = None,
    dialect: str = "auto",
    level: int = 0,
    stages: Sequence[str] = (),
    max_parameters: int = MAX_PARAMETERS,
) -> CaffeNet:
    """A CaffeNet from original files, or from a .safetensors checkpoint given in place of the prototxt.

    Args:
        prototxt: The prototxt, or the checkpoint, which brings weights, phase and dialect along.
        weights: The .caffemodel or .caffemodel.h5, or None for the fillers.
        phase: "TRAIN" or "TEST"; with `level` and `stages` it selects layers as in Caffe.
        variables: Values of the ${NAME}s in the prototxt.
        dialect: "auto" is told from the files; the others as for `prototxt_import.read_net`.
        level: The state's level.
        stages: The state's stages.
        max_parameters: As for `CaffeNet`.

    Returns:
        The net.

    Raises:
        CaffeFormatError: The files are wrong; the message names file, line and layer.
        ValueError: A checkpoint comes with other weights, and as `CaffeNet` does.
        OSError: A file cannot be read.

    Example:
        >>> from pathlib import Path
        >>> from deeplab_repro import load_caffe
        >>> text = 'input: "x" input_shape { dim: 1 } layer { name: "r" type: "ReLU" bottom: "x" top: "y" }'
        >>> _ = Path("net.prototxt").write_text(text)
        >>> load_caffe("net.prototxt").inputs
        {'x': (1,)}
    """
    if os.fspath(prototxt).endswith(".safetensors"):
        if weights is not None:
            raise ValueError(f"{os.fspath(prototxt)}: a checkpoint has its own weights; give a prototxt to use others")
        return load_checkpoint(prototxt)
    spec = read_net(
        prototxt, weights=weights, phase=phase, variables=variables or {}, dialect=dialect, level=level, stages=stages
    )
    return CaffeNet(spec, max_parameters=max_parameters)
