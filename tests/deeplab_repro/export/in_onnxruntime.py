"""Nets as ONNX, run by ONNX Runtime beside torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deeplab_repro import CaffeNet
from deeplab_repro.export.onnx_export import OPSET, onnx_model
from prototxt_import import layer, make_net

onnx = pytest.importorskip("onnx", reason="needs the package onnx: pip install 'deeplab-repro[onnx]'")


runtime = pytest.importorskip("onnxruntime", reason="needs the package onnxruntime: pip install onnxruntime")


def run(model, inputs):
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {name: x.numpy() for name, x in inputs.items()}), strict=True))


def check(net: CaffeNet, inputs, blobs=None, bound=2e-6):
    model = onnx_model(net, {name: tuple(x.shape) for name, x in inputs.items()}, blobs)
    assert {(opset.domain, opset.version) for opset in model.opset_import} == {("", OPSET)}
    assert {node.domain for node in model.graph.node} <= {""}
    got = run(model, inputs)
    want = net(**inputs, blobs=blobs)
    assert list(got) == list(want)
    for name, value in want.items():
        ours = value.detach().numpy()
        assert got[name].shape == ours.shape, name
        assert np.abs(got[name] - ours).max() <= bound * np.abs(ours).max(), name
    return model


def layers_of(*layers):
    return CaffeNet(make_net("one", {"data": (2, 6, 7, 9)}, layers), torch.Generator().manual_seed(1))


def single(type_name, **options):
    return layers_of(layer(type_name, "l", "data", "out", **options))
