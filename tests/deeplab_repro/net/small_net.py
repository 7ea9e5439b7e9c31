"""A small net with everything a graph can have: a chain in place, a side branch, dropout and two losses."""

from __future__ import annotations

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
