"""The modules that run Caffe layers, one file per family, under the file names of prototxt_import.layers.

`module` registers a type, `build_module` makes the module of a LayerSpec, `CaffeLayer` is the base of all."""

from deeplab_repro.layers import (
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
    resize,
    score,
    segnet,
)
from deeplab_repro.layers.base import CaffeLayer, build_module, has_module, module, require_modules

__all__ = [
    "CaffeLayer",
    "activation",
    "bn",
    "build_module",
    "ccnn",
    "conv",
    "crf",
    "crfrnn",
    "data",
    "domain_transform",
    "enet",
    "has_module",
    "loss",
    "merge",
    "module",
    "norm",
    "parsenet",
    "pool",
    "require_modules",
    "resize",
    "score",
    "segnet",
]
