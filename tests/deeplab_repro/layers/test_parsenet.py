"""ParseNet's Normalize against its formula."""

from __future__ import annotations

import pytest
import torch

from deeplab_repro import CaffeNet
from prototxt_import import parse_net


@pytest.mark.parametrize("across", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_scaled_to_unit_length(across, shared, rng):
    text = 'input: "x" input_shape { dim: 2 dim: 3 dim: 5 dim: 7 } '
    text += 'layer { name: "n" type: "Normalize" bottom: "x" top: "y" '
    text += f"norm_param {{ across_spatial: {str(across).lower()} channel_shared: {str(shared).lower()} "
    text += 'scale_filler { type: "uniform" min: 1 max: 3 } } }'
    net = CaffeNet(parse_net(text), rng).double()
    scale = net.params["n"][0]
    assert scale.shape == (() if shared else (3,))
    x = torch.randn(2, 3, 5, 7, generator=rng, dtype=torch.float64, requires_grad=True)
    length = x.square().sum((1, 2, 3) if across else 1, keepdim=True).add(1e-10).sqrt()
    wanted = x / length * (scale if shared else scale[:, None, None])
    assert torch.allclose(net(x=x)["y"], wanted, rtol=1e-12)
    assert torch.autograd.gradcheck(lambda x: net(x=x)["y"], x)


def test_zeros_stay_zeros():
    text = 'input: "x" input_shape { dim: 1 dim: 3 dim: 2 dim: 2 } '
    text += 'layer { name: "n" type: "Normalize" bottom: "x" top: "y" }'
    assert not CaffeNet(parse_net(text))(x=torch.zeros(1, 3, 2, 2))["y"].any()
