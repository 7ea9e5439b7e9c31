"""Layer types, one file per family; importing this package fills the table (how to add one: see layers.base)."""

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
from prototxt_import.layers.base import Context, Options
from prototxt_import.layers.own import layer_type
from prototxt_import.layers.python import PythonLayerOptions
from prototxt_import.layers.table import LayerType, is_source, layer_types, lookup, register

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
    "is_source",
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
