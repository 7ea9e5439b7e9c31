"""The modules that run Caffe layers, one file per family, under the file names of prototxt_import.layers.

`module` registers a type, `build_module` makes the module of a LayerSpec, `CaffeLayer` is the base of all."""

from deeplab_repro.layers import activation, conv, crf, data, loss, merge, norm, pool, resize
from deeplab_repro.layers.base import CaffeLayer, build_module, has_module, module, require_modules

__all__ = [
    "CaffeLayer",
    "activation",
    "build_module",
    "conv",
    "crf",
    "data",
    "has_module",
    "loss",
    "merge",
    "module",
    "norm",
    "pool",
    "require_modules",
    "resize",
]
