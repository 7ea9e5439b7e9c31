from __future__ import annotations

import torch
from torch.nn import functional as F

from deeplab_repro.layers import build_module
from prototxt_import import Filler, layer, make_net

NOISE = Filler(type="gaussian", std=1.0)


def module(kind: str, shape, bottoms=("x",), tops=("y",), **options):
    spec = layer(kind, "it", list(bottoms), list(tops), weight_filler=NOISE, bias_filler=NOISE, **options)
    net = make_net("one", dict.fromkeys(bottoms, shape), [spec], "TEST")
    built = build_module(net.layers[0], net)
    built.reset_parameters()
    return built


def test_convolution(rng):
    conv = module("Convolution", (2, 4, 17, 19), num_output=6, kernel=(3, 2), pad=(4, 1), dilation=(2, 5), group=2)
    x = torch.randn(2, 4, 17, 19, generator=rng)
    torch.testing.assert_close(conv(x), F.conv2d(x, conv.weight, conv.bias, 1, (4, 1), (2, 5), 2), rtol=1e-4, atol=1e-5)


def test_one_convolution_serves_several_bottoms(rng):
    conv = module("Convolution", (1, 3, 8, 8), ("a", "b"), ("c", "d"), num_output=2, kernel=(1, 1), bias_term=False)
    a, b = (torch.randn(1, 3, 8, 8, generator=rng) for _ in range(2))
    c, d = conv(a, b)
    assert torch.equal(c, conv(a))
    assert torch.equal(d, conv(b))
    assert len(conv.blobs()) == 1


def test_deconvolution(rng):
    up = module("Deconvolution", (1, 4, 5, 6), num_output=4, kernel=(4, 4), stride=(2, 2), pad=(1, 1), group=4)
    x = torch.randn(1, 4, 5, 6, generator=rng)
    torch.testing.assert_close(up(x), F.conv_transpose2d(x, up.weight, up.bias, 2, 1, groups=4))


def test_inner_product(rng):
    x = torch.randn(2, 3, 4, 5, generator=rng)
    plain = module("InnerProduct", x.shape, num_output=7)
    torch.testing.assert_close(plain(x), x.flatten(1) @ plain.weight.t() + plain.bias)
    turned = module("InnerProduct", x.shape, num_output=7, axis=2, transpose=True)
    torch.testing.assert_close(turned(x), x.flatten(2) @ turned.weight + turned.bias)
