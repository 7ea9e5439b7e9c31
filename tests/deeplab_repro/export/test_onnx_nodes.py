"""Each layer type as ONNX operators."""

from __future__ import annotations

import pytest
import torch

from deeplab_repro.export.onnx_export import onnx_model
from prototxt_import import Filler, layer
from tests.deeplab_repro.export.in_onnxruntime import check, layers_of, single

WEIGHTS = Filler("gaussian", std=0.5)


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
