"""DeepLab v1 and v2 as Caffe computed them, in PyTorch.

The public names load on first use, so that importing the package needs neither torch nor the compiled extension."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "AtrousConv2d": "ops.atrous",
    "Blobs": "net.blobs",
    "CRFParams": "crf.params",
    "CaffeNet": "net.network",
    "ConfusionMatrix": "evaluate.metrics",
    "DenseCRF": "crf.model",
    "LearnableCRF": "crf.learnable",
    "PermutohedralLattice": "crf.features",
    "Segmentation": "predict.segmenter",
    "Segmenter": "predict.segmenter",
    "atrous_conv2d": "ops.conv",
    "export_net": "export.caffe",
    "export_onnx": "export.onnx_export",
    "load_caffe": "net.load",
    "load_checkpoint": "net.checkpoint",
    "save_checkpoint": "net.checkpoint",
}
_MODULES = ("models",)

__version__ = "0.1.0"
__all__ = [*_HOME, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    elif name in _MODULES:
        value = import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
