"""The same network in other runtimes: a plain torch module, and ONNX files for whatever is installed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deeplab_repro.net.fold import fold
from deeplab_repro.net.network import CaffeNet
from deeplab_repro.net.prepared import WeightFolding

Run = Callable[[], object]


class TorchNet(nn.Module):
    """The layers up to one blob as torch's own modules: BatchNorm folded, ReLU in place, as a user of torch would."""

    def __init__(self, net: CaffeNet, blob: str) -> None:
        super().__init__()
        layers, (self.input,) = net.layers_for([blob])
        folding, self.blob, self.steps = WeightFolding(net), blob, []
        self.convolutions = nn.ModuleList()
        for stage in fold(layers, net.spec.param_shapes, net.spec.phase, [blob]):
            merged, options = stage.merged(), stage.layer.options
            relu = any(layer.type == "ReLU" for layer in stage.after)
            if merged.type == "Convolution":
                weight, bias = folding.convolution(stage)
                made = nn.Conv2d(weight.shape[1], weight.shape[0], options.kernel, options.stride, options.pad,
                                 options.dilation)  # fmt: skip
                with torch.no_grad():
                    made.weight.copy_(weight)
                    assert made.bias is not None
                    made.bias.copy_(bias)
                self.convolutions.append(made)
                options = len(self.convolutions) - 1
            self.steps.append((merged.type, merged.bottoms, merged.tops[0], options, relu))

    def forward(self, x: Tensor) -> Tensor:
        """The blob of an image batch [N, 3, H, W]."""
        values = {self.input: x}
        for kind, bottoms, top, options, relu in self.steps:
            inputs = [values[name] for name in bottoms]
            y = self._layer(kind, inputs, options)
            values[top] = y.relu_() if relu else y
        return values[self.blob]

    def _layer(self, kind: str, inputs: list[Tensor], options) -> Tensor:
        x = inputs[0]
        if kind == "Convolution":
            return self.convolutions[options](x)
        if kind == "Pooling":
            window = options.kernel, options.stride, options.pad
            return F.max_pool2d(*(x, *window), ceil_mode=True) if options.method == "MAX" else F.avg_pool2d(x, *window)
        if kind == "Interp":
            return F.interpolate(x, options.size(*x.shape[-2:]), mode="bilinear", align_corners=True)
        if kind != "Eltwise":
            raise LookupError(f"{kind} is none of the layers of the nets that are timed")
        for other in inputs[1:]:
            x = torch.maximum(x, other) if options.operation == "MAX" else x + other
        return x


def onnx_peers(net: CaffeNet, blob: str, data: Tensor) -> dict[str, Callable[[], np.ndarray]]:
    """Calls of the runtimes that are installed, each with torch's number of threads and an ONNX file of the net."""
    try:
        from deeplab_repro.export.onnx_export import onnx_model

        content = onnx_model(net, {"data": tuple(data.shape)}, [blob]).SerializeToString()
    except ImportError:
        return {}
    calls = {}
    for name, make in (("onnxruntime", _onnxruntime), ("openvino", _openvino), ("opencv", _opencv)):
        try:
            calls[name] = make(content, data.numpy())
        except ImportError:
            continue
    return calls


def _onnxruntime(content: bytes, data: np.ndarray) -> Callable[[], np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"data": data})[0]


def _openvino(content: bytes, data: np.ndarray) -> Callable[[], np.ndarray]:
    import openvino

    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(content, b""), "CPU", settings)
    request = compiled.create_infer_request()

    def infer() -> np.ndarray:
        return request.infer({0: data}, share_inputs=True, share_outputs=True)[0]

    return infer


def _opencv(content: bytes, data: np.ndarray) -> Callable[[], np.ndarray]:
    import cv2

    cv2.setNumThreads(torch.get_num_threads())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        path.write_bytes(content)
        net = cv2.dnn.readNetFromONNX(str(path))

    def infer() -> np.ndarray:
        net.setInput(data)
        return net.forward()

    return infer
