from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck

from deeplab_repro.layers import build_module
from prototxt_import import layer, make_net


def test_relu_gradient_at_zero_is_the_slope(run):
    for slope in (0.0, 0.1):
        x = torch.tensor([[-2.0, 0.0, 2.0]], requires_grad=True)
        y = run("ReLU", x, negative_slope=slope)
        y.sum().backward()
        torch.testing.assert_close(y, torch.tensor([[-2 * slope, 0, 2]]))
        torch.testing.assert_close(x.grad, torch.tensor([[slope, slope, 1]]))


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        ("Sigmoid", {}, torch.sigmoid),
        ("TanH", {}, torch.tanh),
        ("AbsVal", {}, torch.abs),
        ("BNLL", {}, lambda x: (1 + x.exp()).log()),
        ("ELU", {"alpha": 0.7}, lambda x: torch.where(x > 0, x, 0.7 * (x.exp() - 1))),
        ("PReLU", {}, lambda x: torch.where(x > 0, x, 0.25 * x)),
        ("Power", {"power": 0.5, "scale": 0.3, "shift": 4.0}, lambda x: (4 + 0.3 * x) ** 0.5),
        ("Exp", {"base": 2.0, "scale": 0.5, "shift": 1.0}, lambda x: 2 ** (1 + 0.5 * x)),
        ("Exp", {}, torch.exp),
        ("Log", {"base": 10.0, "scale": 2.0, "shift": 9.0}, lambda x: (9 + 2 * x).log10()),
    ],
)
def test_elementwise_layers(run, rng, kind, options, expected):
    x = torch.randn(2, 3, 4, generator=rng, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(run(kind, x, **options), expected(x))
    assert gradcheck(lambda t: run(kind, t, **options), x)


def test_threshold(run):
    assert run("Threshold", torch.tensor([[0.0, 0.25, 0.3]]), threshold=0.25).tolist() == [[0, 0, 1]]


def dropout(phase: str, ratio: float = 0.5):
    net = make_net("one", {"x": (4, 1000)}, [layer("Dropout", "drop", ["x"], ["y"], ratio=ratio)], phase)
    return build_module(net.layers[0], net)


def test_dropout_depends_on_the_phase_alone():
    x = torch.ones(4, 1000)
    assert torch.equal(dropout("TEST").train()(x), x)
    assert set(dropout("TRAIN").eval()(x).unique().tolist()) == {0, 2}


def test_dropout_mask_replaces_the_draw(rng):
    x = torch.randn(4, 1000, generator=rng)
    mask = torch.randint(0, 2, (4000,), generator=rng)
    torch.testing.assert_close(dropout("TRAIN", 0.3)(x, mask=mask), x * mask.reshape(4, 1000) / 0.7)
    with pytest.raises(ValueError, match=r"layer 'drop' \(Dropout\): its mask has shape \(3,\)"):
        dropout("TRAIN")(x, mask=torch.ones(3))


def test_clip_lets_the_gradient_through_at_its_bounds(run):
    x = torch.tensor([[-0.5, 0.0, 3.0, 6.0, 6.5]], requires_grad=True)
    y = run("Clip", x, min=0.0, max=6.0)
    y.backward(torch.full_like(y, 2.0))
    assert y.tolist() == [[0, 0, 3, 6, 6]]
    assert x.grad.tolist() == [[0, 2, 2, 2, 0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_clip_of_any_type_and_layout_is_clamp(run, rng, dtype):
    x = torch.randn(2, 3, 5, 7, generator=rng).to(dtype).contiguous(memory_format=torch.channels_last).requires_grad_()
    mine, theirs = (
        torch.autograd.grad(f(x), x, torch.ones_like(x), create_graph=True)[0]
        for f in (lambda t: run("Clip", t, min=-0.5, max=0.5), lambda t: t.clamp(-0.5, 0.5))
    )
    assert torch.equal(mine, theirs)
    assert run("Clip", x, min=-0.5, max=0.5).is_contiguous(memory_format=torch.channels_last)
    if dtype == torch.float64:
        assert gradcheck(lambda t: run("Clip", t, min=-0.5, max=0.5), x)
