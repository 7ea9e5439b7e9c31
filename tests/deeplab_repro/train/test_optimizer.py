"""One step of the solvers, against the arithmetic that Caffe's SGDSolver does before its rule."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deeplab_repro.net.network import CaffeNet
from deeplab_repro.train.optimizer import Optimizer
from prototxt_import import SolverState, parse_net, read_solver

NET = """input: "x" input_shape { dim: 1 dim: 2 }
layer { name: "fc" type: "InnerProduct" bottom: "x" top: "y" param { lr_mult: %s decay_mult: %s }
  inner_product_param { num_output: 1 bias_term: false } }"""
FIXED = 'base_lr: 1 lr_policy: "fixed" max_iter: 9 '


def optimizer(tmp_path, solver, net):
    (tmp_path / "s.prototxt").write_text(FIXED + solver)
    return Optimizer(net, read_solver(tmp_path / "s.prototxt"))


def stepped(tmp_path, solver, weight, gradient, multipliers=("1", "1")):
    """The weight after one step."""
    net = CaffeNet(parse_net(NET % multipliers, phase="TRAIN"))
    blob = net.params["fc"][0]
    with torch.no_grad():
        blob.copy_(torch.tensor([weight]))
    blob.grad = torch.tensor([gradient])
    optimizer(tmp_path, solver, net).step(0)
    return blob.detach()[0].tolist()


def test_clipping_comes_before_the_division_by_iter_size(tmp_path):
    """||(6, 8)|| is 10: clipped to 5, then halved; the halved gradient alone would not be clipped."""
    after = stepped(tmp_path, "clip_gradients: 5 iter_size: 2", [0.0, 0.0], [6.0, 8.0])
    assert after == pytest.approx([-1.5, -2.0])


def test_iter_size_does_not_divide_the_weight_decay(tmp_path):
    after = stepped(tmp_path, "iter_size: 4 weight_decay: 0.1", [1.0, 2.0], [4.0, 0.0])
    assert after == pytest.approx([1 - 1 - 0.1, 2 - 0.2])


@pytest.mark.parametrize(
    ("kind", "drawn"), [("L2", [0.1 * 3, -0.1 * 4]), ("L1", [0.1, -0.1]), ("L2sqrt", [0.1 * 0.6, -0.1 * 0.8])]
)
def test_decay_of_each_regularization_type(tmp_path, kind, drawn):
    """L2sqrt is the v1 fork's."""
    solver = f'regularization_type: "{kind}" weight_decay: 0.05'
    after = stepped(tmp_path, solver, [3.0, -4.0], [0.0, 0.0], ("1", "2"))
    assert after == pytest.approx([3 - drawn[0], -4 - drawn[1]])
    assert stepped(tmp_path, solver, [0.0, 0.0], [0.0, 0.0]) == [0, 0]


def test_rate_and_multiplier_stand_inside_the_history(tmp_path):
    net = CaffeNet(parse_net(NET % ("3", "1"), phase="TRAIN"))
    blob = net.params["fc"][0]
    blob.grad = torch.tensor([[1.0, 0.0]])
    moving = optimizer(tmp_path, "momentum: 0.5", net)
    moving.step(0)
    assert moving.history()[0].tolist() == [[3, 0]]


@pytest.mark.parametrize(("kind", "slots"), [("SGD", 1), ("AdaGrad", 1), ("Adam", 2)])
def test_frozen_blobs_have_histories_too(tmp_path, kind, slots):
    net = CaffeNet(parse_net(NET % ("0", "0"), phase="TRAIN"))
    histories = optimizer(tmp_path, f'type: "{kind}"', net).history()
    assert [history.tolist() for history in histories] == [[[0, 0]]] * slots


@pytest.mark.parametrize("kind", ["AdaGrad", "RMSProp"])
def test_momentum_is_refused_where_the_rule_has_none(tmp_path, kind):
    net = CaffeNet(parse_net(NET % ("1", "1"), phase="TRAIN"))
    with pytest.raises(ValueError, match=f"momentum 0.9 cannot be used with {kind}"):
        optimizer(tmp_path, f'type: "{kind}" momentum: 0.9', net)


def test_decay_shrinks_the_statistics_of_a_v2_batch_norm_that_has_a_rate(tmp_path):
    text = """input: "x" input_dim: [1, 2, 3, 3]
layer { name: "bn" type: "BatchNorm" bottom: "x" top: "y" batch_norm_param { use_global_stats: true } }"""
    net = CaffeNet(parse_net(text, dialect="v2", phase="TRAIN"))
    with torch.no_grad():
        for blob, value in zip(net.params["bn"], (2.0, 4.0, 1.0), strict=True):
            blob.fill_(value)
    net(x=torch.ones(1, 2, 3, 3, requires_grad=True))["y"].sum().backward()
    assert all(blob.grad is None for blob in net.params["bn"])
    optimizer(tmp_path, "weight_decay: 0.25", net).step(0)
    assert [blob.detach().unique().tolist() for blob in net.params["bn"]] == [[1.5], [3.0], [0.75]]


def test_the_step_of_the_rate_is_restored(tmp_path):
    net = CaffeNet(parse_net(NET % ("1", "1"), phase="TRAIN"))
    (tmp_path / "m.prototxt").write_text(
        'base_lr: 1 lr_policy: "multistep" gamma: 0.5 stepvalue: [2, 4, 6] max_iter: 9'
    )
    later = Optimizer(net, read_solver(tmp_path / "m.prototxt"))
    later.restore(SolverState(5, "a", 2, (np.ones((1, 1, 1, 2), np.float32),)))
    assert later.schedule.rate(5) == 0.25
    assert later.schedule.rate(6) == 0.125
    assert later.history()[0].tolist() == [[1, 1]]


@pytest.mark.parametrize("name", ["iter_size", "average_loss"])
@pytest.mark.parametrize("count", [0, -1])
def test_counts_below_1_are_refused(tmp_path, name, count):
    with pytest.raises(ValueError, match=rf"{name} must be at least 1, is {count}"):
        stepped(tmp_path, f"{name}: {count}", [0.0, 0.0], [1.0, 1.0])
