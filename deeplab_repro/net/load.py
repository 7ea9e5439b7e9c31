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

    weights: .caffemodel, or None for the fillers. variables: values of the ${NAME}s in the prototxt. phase, level and
    stages select layers as in Caffe; dialect "auto" is told from the files. A checkpoint brings weights, phase and
    dialect along. max_parameters: as for CaffeNet.

    Raises CaffeFormatError, a ValueError, naming file, line and layer, and OSError for files that cannot be read."""
    if os.fspath(prototxt).endswith(".safetensors"):
        if weights is not None:
            raise ValueError(f"{os.fspath(prototxt)}: a checkpoint has its own weights; give a prototxt to use others")
        return load_checkpoint(prototxt)
    spec = read_net(
        prototxt, weights=weights, phase=phase, variables=variables or {}, dialect=dialect, level=level, stages=stages
    )
    return CaffeNet(spec, max_parameters=max_parameters)
