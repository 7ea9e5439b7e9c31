"""Dropout masks as Caffe draws them."""

import numpy as np
import torch

from deeplab_repro.data.feeds.caffe_rng import CaffeRng
from deeplab_repro.net.network import CaffeNet
from deeplab_repro.train.masks import DropoutMasks


def test_dropout_masks_are_caffes():
    spec = read_net_of("data", (2, 3, 4, 5), 'dropout_param { dropout_ratio: 0.25 } bottom: "data" top: "b" name: "d1"')
    rng, same = CaffeRng(5), CaffeRng(5)
    whole = DropoutMasks(CaffeNet(spec), rng).draw({"data": (2, 3, 4, 5)})["d1"]
    assert np.array_equal(whole.numpy().reshape(-1), same.keep_mask(120, 0.25))
    second = DropoutMasks(CaffeNet(spec), CaffeRng(5)).draw({"data": (2, 3, 4, 5)}, slice(1, 2))["d1"]
    assert torch.equal(second, whole[1:])


def read_net_of(name, shape, dropout):
    from prototxt_import import parse_net

    dims = " ".join(f"dim: {side}" for side in shape)
    text = f'input: "{name}" input_shape {{ {dims} }} layer {{ type: "Dropout" {dropout} }}'
    return parse_net(text, source="test", phase="TRAIN")
