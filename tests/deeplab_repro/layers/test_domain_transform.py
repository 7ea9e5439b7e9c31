"""DomainTransform against a plain loop of its recursion, forward and backward."""

from __future__ import annotations

from math import exp, sqrt

import pytest
import torch
from torch import Tensor

from deeplab_repro import CaffeNet
from prototxt_import import parse_net


def plain(scores: Tensor, edges: Tensor, dims: Tensor, iterations: int, spatial: float, color: float, least: float):
    """Number by number; edges enter by the weight between an element and the one before it on the same line."""
    top = [[[[v for v in row] for row in plane] for plane in item] for item in scores]
    for n, (h, w) in enumerate(dims.reshape(-1, 2).long().tolist()):
        for i in range(iterations):
            sigma = spatial * sqrt(3) * 2 ** (iterations - 1 - i) / sqrt(4**iterations - 1)
            held = [[edges[n, 0, y, x] * (spatial / color) + 1 for x in range(w)] for y in range(h)]
            a = [[(weight * (-sqrt(2) / sigma)).exp().clamp(least, 1) for weight in row] for row in held]
            for plane in top[n]:
                for y in range(h):
                    for x in range(1, w):
                        plane[y][x] = (1 - a[y][x]) * plane[y][x] + a[y][x] * plane[y][x - 1]
                    for x in range(w - 2, -1, -1):
                        plane[y][x] = (1 - a[y][x + 1]) * plane[y][x] + a[y][x + 1] * plane[y][x + 1]
                for x in range(w):
                    for y in range(1, h):
                        plane[y][x] = (1 - a[y][x]) * plane[y][x] + a[y][x] * plane[y - 1][x]
                    for y in range(h - 2, -1, -1):
                        plane[y][x] = (1 - a[y + 1][x]) * plane[y][x] + a[y + 1][x] * plane[y + 1][x]
    return torch.stack([torch.stack([torch.stack([torch.stack(r) for r in p]) for p in item]) for item in top])


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
@pytest.mark.parametrize(("channels", "height", "width"), [(3, 5, 7), (1, 1, 6), (2, 6, 1)])
def test_recursion_and_its_gradients_against_a_plain_loop(run, rng, channels, height, width, phase):
    bottoms = [torch.randn(2, channels, height, width, generator=rng, dtype=torch.float64)]
    bottoms.append(torch.rand(2, 1, height, width, generator=rng, dtype=torch.float64))
    dims = torch.tensor([[height, width], [max(height - 2, 1), max(width - 1, 1)]]).reshape(2, 1, 1, 2).double()
    into = torch.randn(2, channels, height, width, generator=rng, dtype=torch.float64)
    outcomes = []
    for recursion in (
        lambda *x: run("DomainTransform", *x, phase=phase, num_iter=2, spatial_sigma=4.0, range_sigma=2.0),
        lambda *x: plain(*x, 2, 4.0, 2.0, 0.0),
    ):
        fed = [x.clone().requires_grad_() for x in bottoms]
        top = recursion(*fed, dims)
        top.backward(into)
        outcomes.append([top.detach(), *(x.grad for x in fed)])
    for ours, loop in zip(*outcomes, strict=True):
        torch.testing.assert_close(ours, loop, rtol=0, atol=1e-13)


def test_beyond_the_true_size_scores_and_gradient_pass(run, rng):
    x = torch.randn(1, 2, 5, 6, generator=rng, requires_grad=True)
    edges = torch.rand(1, 1, 5, 6, generator=rng).requires_grad_()
    top = run("DomainTransform", x, edges, torch.tensor([[[[3.0]], [[4.0]]]]))
    top.sum().backward()
    outside = torch.ones(5, 6, dtype=torch.bool)
    outside[:3, :4] = False
    assert torch.equal(top[..., outside], x[..., outside])
    assert not torch.equal(top[..., ~outside], x[..., ~outside])
    assert bool((x.grad[..., outside] == 1).all())
    assert not edges.grad[..., outside].any()
    # The filter moves scores along a line and loses none where nothing bounds it: each sum's weights are one.
    torch.testing.assert_close(run("DomainTransform", torch.ones_like(x), edges, torch.tensor([[5.0, 6.0]])).sum(),
                               torch.tensor(60.0))  # fmt: skip


def test_weights_stay_between_min_weight_and_1_and_keep_their_slope(run):
    """The fork holds a weight in [min_weight, 1], yet sends back factor * weight as if it did not."""
    x = torch.tensor([1.0, 0.0]).reshape(1, 1, 1, 2).double()
    dims = torch.tensor([[1.0, 2.0]]).double()
    slope = -sqrt(2) / 50 * 10  # of the only iteration, whose sigma is spatial_sigma
    for edge, least, weight in ((1e3, 0.25, 0.25), (-1e3, 0.0, 1.0), (0.0, 0.0, exp(-sqrt(2) / 50))):
        edges = torch.tensor([0.0, edge]).reshape(1, 1, 1, 2).double().requires_grad_()
        top = run("DomainTransform", x, edges, dims, num_iter=1, min_weight=least)
        # To the right [1, weight], and back [1 + weight (weight - 1), weight].
        torch.testing.assert_close(top.flatten().tolist(), [1 + weight * (weight - 1), weight])
        top[..., 1].sum().backward()
        torch.testing.assert_close(edges.grad.flatten()[1].item(), slope * weight)


def test_a_true_size_beyond_the_blob_is_refused(run):
    with pytest.raises(ValueError, match=r"'it' \(DomainTransform\): an item's true size is 6 x 2; the blob has 5 x 6"):
        run("DomainTransform", torch.zeros(1, 2, 5, 6), torch.zeros(1, 1, 5, 6), torch.tensor([[6.0, 2.0]]))


def test_dt_edgenet_wiring_loads_and_trains(rng):
    """DT-EdgeNet: features of several depths make an edge map, which guides the filter of the scores."""
    text = """
    input: "data" input_shape { dim: 2 dim: 3 dim: 9 dim: 11 }
    input: "data_dim" input_shape { dim: 2 dim: 1 dim: 1 dim: 2 }
    layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
            convolution_param { num_output: 4 pad: 1 kernel_size: 3 weight_filler { type: "xavier" } } }
    layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
            pooling_param { kernel_size: 3 stride: 2 pad: 1 } }
    layer { name: "up1" type: "Interp" bottom: "pool1" top: "up1" interp_param { height: 9 width: 11 } }
    layer { name: "features" type: "Concat" bottom: "conv1" bottom: "up1" top: "features" }
    layer { name: "edge" type: "Convolution" bottom: "features" top: "edge"
            convolution_param { num_output: 1 kernel_size: 1 weight_filler { type: "xavier" } } }
    layer { name: "edge_relu" type: "ReLU" bottom: "edge" top: "edge" }
    layer { name: "fc8" type: "Convolution" bottom: "conv1" top: "fc8"
            convolution_param { num_output: 5 kernel_size: 1 weight_filler { type: "xavier" } } }
    layer { name: "dt" type: "DomainTransform" bottom: "fc8" bottom: "edge" bottom: "data_dim" top: "dt"
            domain_transform_param { num_iter: 2 spatial_sigma: 10 range_sigma: 1 } }
    """
    net = CaffeNet(parse_net(text, phase="TRAIN"), rng)
    assert net.spec.dialect == "v2"
    x = {"data": torch.randn(2, 3, 9, 11, generator=rng)}
    x["data_dim"] = torch.tensor([[9.0, 11.0], [7.0, 8.0]]).reshape(2, 1, 1, 2)
    blobs = net(**x, blobs="all")
    blobs["dt"].square().sum().backward()
    assert not torch.equal(blobs["dt"], blobs["fc8"])
    assert net.params["edge"][0].grad.any()
    in_test = CaffeNet(parse_net(text))
    in_test.load_state_dict(net.state_dict())
    torch.testing.assert_close(in_test.prepare(x)(**x)["dt"], blobs["dt"].detach())
