"""Layer types, one file per family; importing this package fills the table (see layers.base for adding one)."""

from prototxt_import.layers import activation, conv, crf, data, loss, merge, norm, pool, resize
from prototxt_import.layers.base import Context, LayerType, Options, layer_types, lookup, register
from prototxt_import.layers.own import layer_type

__all__ = [
    "Context",
    "LayerType",
    "Options",
    "activation",
    "conv",
    "crf",
    "data",
    "layer_type",
    "layer_types",
    "lookup",
    "loss",
    "merge",
    "norm",
    "pool",
    "register",
    "resize",
]
