"""ENet's SpatialDropout: recorded, and drawn."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from deeplab_repro.layers import build_module
from prototxt_import import layer, make_net
from tests.deeplab_repro.layers.recorded import check_recorded


def drop(x: Tensor, mask: Tensor | None = None) -> Tensor:
    spec = layer("SpatialDropout", "it", "x", "y", p=0.25, phase="TRAIN")
    net = make_net("one", {"x": tuple(x.shape)}, [spec])
    return build_module(net.layers[0], net)(x, mask)


def test_as_recorded():
    check_recorded("enet", "spatial_dropout_test")


def test_training_drops_whole_channels_and_scales_the_rest():
    torch.manual_seed(3)
    x = torch.ones(4, 50, 3, 5, requires_grad=True)
    y = drop(x)
    planes = y.flatten(2)
    assert torch.equal(planes.amin(2), planes.amax(2))
    assert planes.unique().tolist() == [0.0, torch.tensor(1 / 0.75).item()]
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


def test_a_mask_has_one_number_per_item_and_channel():
    mask = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    y = drop(torch.ones(2, 2, 3, 3), mask)
    assert torch.equal(y[..., 0, 0] > 0, mask > 0)
    with pytest.raises(ValueError, match=r"layer 'it' \(SpatialDropout\): its mask has shape \(3,\)"):
        drop(torch.ones(2, 2, 3, 3), torch.ones(3))
