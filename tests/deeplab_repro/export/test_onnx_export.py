"""ONNX files of plain operators give what the nets they come from give."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deeplab_repro import CaffeNet, load_caffe
from deeplab_repro.export.onnx_export import OPSET, export_onnx, onnx_model
from deeplab_repro.zoo import models
from prototxt_import import Filler, layer, make_net
from tests.paths import GOLDEN

onnx = pytest.importorskip("onnx", reason="needs the package onnx: pip install 'deeplab-repro[onnx]'")
runtime = pytest.importorskip("onnxruntime", reason="needs the package onnxruntime: pip install onnxruntime")

NETS = GOLDEN / "nets"
WEIGHTS = Filler("gaussian", std=0.5)


def run(model, inputs):
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {name: x.numpy() for name, x in inputs.items()}), strict=True))


def check(net: CaffeNet, inputs, blobs=None, bound=2e-6):
    model = onnx_model(net, {name: tuple(x.shape) for name, x in inputs.items()}, blobs)
    assert {(one.domain, one.version) for one in model.opset_import} == {("", OPSET)}
    assert {node.domain for node in model.graph.node} <= {""}
    got = run(model, inputs)
    want = net(**inputs, blobs=blobs)
    assert list(got) == list(want)
    for name, value in want.items():
        ours = value.detach().numpy()
        assert got[name].shape == ours.shape, name
        assert np.abs(got[name] - ours).max() <= bound * np.abs(ours).max(), name
    return model


@pytest.mark.parametrize("name", ["v2_largefov", "v2_aspp_l", "v1_noup_test", "v1_msc_largefov_released"])
def test_golden_nets_at_every_recorded_size(name):
    net = load_caffe(NETS / name / "net.prototxt", NETS / name / "weights.caffemodel")
    sizes = [np.load(path)["in/data"] for path in sorted((NETS / name).glob("in_*.npz"))]
    assert sizes
    for data in sizes:
        model = check(
            net, {"data": torch.from_numpy(data)}, [*net.spec.outputs, "pool3", "fc7" if name[-1] != "l" else "fc7_1"]
        )
        assert "Dropout" not in {node.op_type for node in model.graph.node}


def test_multi_scale_net_holds_shared_weights_once():
    net = models.deeplab_resnet101(width=1 / 16, depths=(1, 1, 2, 1), size=(65, 65))
    data = torch.randn(1, 3, 65, 65, generator=torch.Generator().manual_seed(3))
    model = check(net, {"data": data}, bound=2e-5)  # errors of all its layers add up
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    stored = sum(np.prod(one.dims) for one in model.graph.initializer)
    learnt = sum(blob.numel() for blob in net.parameters())
    assert stored < learnt


def layers_of(*layers):
    return CaffeNet(make_net("one", {"data": (2, 6, 7, 9)}, layers), torch.Generator().manual_seed(1))


def single(type_name, **options):
    return layers_of(layer(type_name, "l", "data", "out", **options))


@pytest.mark.parametrize(
    "net",
    [
        single("Convolution", num_output=4, kernel=(3, 2), stride=(2, 1), pad=(3, 1), dilation=(2, 3), group=2,
               weight_filler=WEIGHTS, bias_filler=WEIGHTS),
        single("Deconvolution", num_output=4, kernel=(3, 4), stride=(2, 3), pad=(1, 0), weight_filler=WEIGHTS),
        single("InnerProduct", num_output=5, weight_filler=WEIGHTS, bias_filler=WEIGHTS),
        single("InnerProduct", num_output=5, axis=2, transpose=True, weight_filler=WEIGHTS),
        single("Pooling", method="MAX", kernel=(3, 3), stride=(2, 2), pad=(1, 1)),
        single("Pooling", method="MAX", kernel=(2, 2), stride=(2, 2)),
        single("Pooling", method="MAX", kernel=(2, 2), stride=(3, 4)),
        single("Pooling", method="AVE", kernel=(3, 3), stride=(1, 1), pad=(1, 1)),
        single("Pooling", method="AVE", kernel=(3, 2), stride=(2, 3), pad=(0, 1)),
        single("Pooling", method="AVE", global_pooling=True),
        single("Interp", zoom_factor=8),
        single("Interp", shrink_factor=2),
        single("Interp", shrink_factor=4, zoom_factor=3),
        single("Interp", height=5, width=20, pad_beg=-1, pad_end=-2),
        single("Interp", zoom_factor=1, pad_beg=-1),
        single("Interp", zoom_factor=1),
        single("Padding", pad_beg=2, pad_end=3),
        single("Padding", pad_beg=-2, pad_end=-1),
        single("BatchNorm", use_global_stats=True),
        single("Scale", bias_term=True, filler=WEIGHTS, bias_filler=WEIGHTS),
        single("PReLU", filler=WEIGHTS),
        single("ReLU", negative_slope=0.1),
        single("ELU", alpha=0.5),
        single("Power", scale=2.0, shift=9.0, power=0.5),
        single("Softmax"),
        single("ArgMax", axis=1),
        single("LRN", local_size=3),
        single("Flatten"),
        single("Permute", order=(0, 2, 3, 1)),
        single("Dropout"),
    ],
    ids=lambda net: net.spec.layers[0].type,
)  # fmt: skip
def test_single_layers(net):
    for blob in net.parameters():
        if net.spec.layers[0].type == "BatchNorm":
            torch.nn.init.uniform_(blob, 0.5, 1.5)
    check(net, {"data": torch.randn(2, 6, 7, 9, generator=torch.Generator().manual_seed(2))}, bound=5e-6)


def test_layers_with_several_bottoms_or_tops():
    eltwise = [
        layer("Slice", "cut", "data", ["a", "b", "c"], slice_points=(2, 4)),
        layer("Eltwise", "sum", ["a", "b", "c"], "sum", operation="SUM", coeffs=(1.0, -0.5, 2.0)),
        layer("Eltwise", "max", ["a", "b", "c"], "max", operation="MAX"),
        layer("Eltwise", "prod", ["a", "b"], "prod", operation="PROD"),
        layer("Concat", "join", ["sum", "max", "prod"], "join"),
        layer("Crop", "crop", ["data", "pool"], "cropped", offset=(1,)),
    ]
    pool = layer("Pooling", "pool", "data", "pool", method="MAX", kernel=(2, 2), stride=(2, 2))
    net = layers_of(pool, *eltwise)
    check(net, {"data": torch.randn(2, 6, 7, 9)})


def test_in_place_chains_name_the_last_value():
    net = layers_of(
        layer("ReLU", "relu", "data", "data"),
        layer("Power", "twice", "data", "data", scale=2.0),
        layer("Power", "more", "data", "out", shift=1.0),
    )
    check(net, {"data": torch.randn(2, 6, 7, 9)}, ["out"])


def test_layers_without_plain_operators_are_all_named():
    net = layers_of(
        layer("MVN", "mvn", "data", "mvn"),
        layer("Convolution", "conv", "mvn", "conv", num_output=2, kernel=(1, 1)),
        layer("SPP", "spp", "conv", "spp", pyramid_height=2),
    )
    with pytest.raises(ValueError, match=r"'mvn' \(MVN\), 'spp' \(SPP\)"):
        onnx_model(net)
    with pytest.raises(ValueError, match=r"layer 'l' \(LRN\).*within a channel"):
        onnx_model(single("LRN", local_size=3, norm_region="WITHIN_CHANNEL"))


def test_the_file_appears_whole_or_not_at_all(tmp_path):
    net = single("Softmax")
    export_onnx(net, tmp_path / "net.onnx", {"data": (1, 6, 3, 3)})
    assert [each.name for each in tmp_path.iterdir()] == ["net.onnx"]
    assert onnx.load(tmp_path / "net.onnx").graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1
    with pytest.raises(FileNotFoundError, match="does not exist"):
        export_onnx(net, tmp_path / "no" / "net.onnx")
