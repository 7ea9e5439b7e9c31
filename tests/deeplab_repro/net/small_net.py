"""A small net with everything a graph can have: a chain in place, a side branch, dropout and two losses."""

from __future__ import annotations

import torch

from deeplab_repro import CaffeNet
from prototxt_import import Filler, layer, make_net

NOISE = Filler(type="gaussian", std=0.5)


def conv(name, bottom, top=None, outputs=4, **options):
    return layer("Convolution", name, [bottom], [top or name], num_output=outputs, kernel=(3, 3), pad=(1, 1),
                 weight_filler=NOISE, **options)  # fmt: skip


def small_spec(phase="TRAIN"):
    """data -> a -> relu in place -> b -> loss with label; c hangs off the blob a."""
    layers = [
        conv("a", "data"),
        layer("ReLU", "a.relu", ["a"], ["a"]),
        conv("b", "a", outputs=3),
        conv("c", "a"),
        layer("Dropout", "drop", ["c"], ["c"]),
        layer("SoftmaxWithLoss", "loss", ["b", "label"], [], loss_weights=[0.5]),
        layer("EuclideanLoss", "size", ["c", "zero"], ["size"], loss_weights=[2.0]),
    ]
    inputs = {"data": (1, 3, 6, 7), "label": (1, 1, 6, 7), "zero": (1, 4, 6, 7)}
    return make_net("small", inputs, layers, phase)


def error(ours: torch.Tensor, other: torch.Tensor) -> float:
    return ((ours - other).abs().max() / other.abs().max()).item()


def affine_net(pad: int = 0, group: int = 1):
    """Input, BatchNorm, Scale, convolution, BatchNorm, Scale, ReLU, Dropout, each top with a name of its own."""
    scale = {"filler": Filler("uniform", min=0.5, max=2), "bias_filler": Filler("uniform", min=-1, max=1)}
    window = {"kernel": (3, 3), "pad": (pad, pad), "group": group, "weight_filler": Filler("gaussian", std=0.2)}
    layers = [
        layer("BatchNorm", "bn1", "data", "bn1", use_global_stats=True),
        layer("Scale", "scale1", "bn1", "scale1", bias_term=True, **scale),
        layer("Convolution", "conv", "scale1", "conv", num_output=6, bias_term=False, **window),
        layer("BatchNorm", "bn2", "conv", "bn2", use_global_stats=True),
        layer("Scale", "scale2", "bn2", "scale2", bias_term=True, **scale),
        layer("ReLU", "relu", "scale2", "relu", negative_slope=0.1),
        layer("Dropout", "drop", "relu", "drop", ratio=0.5),
    ]
    torch.manual_seed(3)
    net = CaffeNet(make_net("affine", {"data": (2, 4, 9, 8)}, layers))
    for name in ("bn1", "bn2"):
        for blob, low in zip(net.params[name], (-1.0, 0.5, 0.5), strict=True):
            torch.nn.init.uniform_(blob, low, low + 1)
    return net


def relu_net():
    return CaffeNet(make_net("n", {"data": (1, 2)}, [layer("ReLU", "relu", ["data"], ["y"])]))


def two_input_net():
    inputs = {"a": (1, 2), "b": (1, 2)}
    return CaffeNet(make_net("n", inputs, [layer("EuclideanLoss", "loss", ["a", "b"], ["loss"])]))
