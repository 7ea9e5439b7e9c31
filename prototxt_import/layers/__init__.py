"""Layer types, one file per family; importing this package fills the table (see layers.base for adding one)."""

from prototxt_import.layers import (
    activation,
    bn,
    ccnn,
    conv,
    crf,
    crfrnn,
    data,
    domain_transform,
    enet,
    loss,
    merge,
    norm,
    parsenet,
    pool,
    python,
    resize,
    score,
    segnet,
)
from prototxt_import.layers.base import Context, LayerType, Options, layer_types, lookup, register
from prototxt_import.layers.own import layer_type
from prototxt_import.layers.python import PythonLayerOptions

__all__ = [
    "Context",
    "LayerType",
    "Options",
    "PythonLayerOptions",
    "activation",
    "bn",
    "ccnn",
    "conv",
    "crf",
    "crfrnn",
    "data",
    "domain_transform",
    "enet",
    "layer_type",
    "layer_types",
    "lookup",
    "loss",
    "merge",
    "norm",
    "parsenet",
    "pool",
    "python",
    "register",
    "resize",
    "score",
    "segnet",
]
