"""Corners of single layers, held against the sentences that say what Caffe does there."""

import torch
from torch.nn import functional as F

from deeplab_repro.net.network import CaffeNet
from prototxt_import import parse_net

INPUT = 'input: "data" input_shape { %s }\n'


def net(text, shape, dialect="auto", phase="TEST"):
    dims = " ".join(f"dim: {side}" for side in shape)
    return CaffeNet(parse_net(INPUT % dims + text, dialect=dialect, phase=phase))


def test_a_pooling_window_larger_than_the_map_takes_all_of_it():
    """Pooling: the window is clipped to the image (MAX) or the padded extent (AVE)."""
    x = torch.randn(1, 3, 2, 2)
    for pool, want in (("MAX", x.amax((2, 3))), ("AVE", x.mean((2, 3)))):
        text = 'layer { name: "p" type: "Pooling" bottom: "data" top: "y" pooling_param { pool: %s %s } }'
        y = net(text % (pool, "kernel_size: 3 stride: 2"), x.shape)(data=x)["y"]
        torch.testing.assert_close(y[..., 0, 0], want)


def test_a_kernel_larger_than_the_map_reads_zeros_beyond_it():
    x = torch.randn(1, 3, 2, 5)
    text = """layer { name: "c" type: "Convolution" bottom: "data" top: "y"
  convolution_param { num_output: 2 kernel_size: 3 stride: 2 weight_filler { type: "xavier" } } }"""
    made = net(text, x.shape)
    weight, bias = made.params["c"]
    want = F.conv2d(F.pad(x, (0, 0, 0, 1)), weight, bias, stride=2)
    torch.testing.assert_close(made(data=x)["y"], want)


def test_mvn_of_a_constant_plane_has_a_finite_gradient():
    """MVN: divided by sqrt(var) + eps."""
    x = torch.ones(2, 3, 4, 4)
    x[1] = torch.randn(3, 4, 4)
    x.requires_grad_()
    made = net('layer { name: "m" type: "MVN" bottom: "data" top: "y" }', x.shape)
    y = made(data=x)["y"]
    y.square().sum().backward()
    assert torch.isfinite(x.grad).all()
    assert not y[0].any()


def test_mvn_of_v1_passes_the_gradient_unchanged_without_variance():
    """MVN, v1: with normalize_variance false the gradient is passed unchanged."""
    text = 'layer { name: "m" type: "MVN" bottom: "data" top: "y" mvn_param { normalize_variance: false } }'
    weight = torch.randn(1, 3, 4, 4)
    gradients = {}
    for dialect in ("v1", "v2"):
        x = torch.randn(1, 3, 4, 4, requires_grad=True)
        (net(text, x.shape, dialect)(data=x)["y"] * weight).sum().backward()
        gradients[dialect] = x.grad
    torch.testing.assert_close(gradients["v1"], weight)
    torch.testing.assert_close(gradients["v2"], weight - weight.mean((2, 3), keepdim=True))


def test_a_layers_own_phase_wins():
    x = torch.randn(1, 3, 9, 9)
    text = 'layer { name: "d" type: "Dropout" bottom: "data" top: "y" phase: %s }'
    assert torch.equal(net(text % "TEST", x.shape, phase="TRAIN")(data=x)["y"], x)
    assert not torch.equal(net(text % "TRAIN", x.shape, phase="TEST")(data=x)["y"], x)


def test_v1_inner_product_and_flatten_keep_four_axes():
    text = """layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param { num_output: 4 } }
layer { name: "flat" type: "Flatten" bottom: "data" top: "flat" }"""
    got = net(text, (2, 3, 5, 5), "v1")(data=torch.randn(2, 3, 5, 5))
    assert got["fc"].shape == (2, 4, 1, 1)
    assert got["flat"].shape == (2, 75, 1, 1)
