"""The solvers' updates in double precision, beside their formulas written out."""

import math

import numpy as np
import pytest
import torch

from deeplab_repro.train.rules import make_rule, regularize
from prototxt_import import read_solver


@pytest.fixture
def rule(tmp_path):
    def make(kind, **fields):
        text = "".join(f"{name}: {value}\n" for name, value in fields.items())
        (tmp_path / "s.prototxt").write_text(f'net: "n" base_lr: 1 lr_policy: "fixed" type: "{kind}"\n{text}')
        return make_rule(read_solver(tmp_path / "s.prototxt"))

    return make


def sgd(w, g, h, rate, t, m):
    h[0] = m * h[0] + rate * g
    return w - h[0]


def nesterov(w, g, h, rate, t, m):
    before = h[0].copy()
    h[0] = m * h[0] + rate * g
    return w - (1 + m) * h[0] + m * before


def adagrad(w, g, h, rate, t, m):
    h[0] = h[0] + g * g
    return w - rate * g / (np.sqrt(h[0]) + 1e-3)


def rmsprop(w, g, h, rate, t, m):
    h[0] = 0.9 * h[0] + 0.1 * g * g
    return w - rate * g / (np.sqrt(h[0]) + 1e-3)


def adadelta(w, g, h, rate, t, m):
    h[0] = m * h[0] + (1 - m) * g * g
    move = g * np.sqrt((h[1] + 1e-3) / (h[0] + 1e-3))
    h[1] = m * h[1] + (1 - m) * move * move
    return w - rate * move


def adam(w, g, h, rate, t, m):
    h[0] = m * h[0] + (1 - m) * g
    h[1] = 0.99 * h[1] + 0.01 * g * g
    return w - rate * math.sqrt(1 - 0.99 ** (t + 1)) / (1 - m ** (t + 1)) * h[0] / (np.sqrt(h[1]) + 1e-3)


@pytest.mark.parametrize(
    ("kind", "formula", "momentum", "fields"),
    [
        ("SGD", sgd, 0.9, {}),
        ("Nesterov", nesterov, 0.9, {}),
        ("AdaGrad", adagrad, 0, {"delta": 1e-3}),
        ("RMSProp", rmsprop, 0, {"delta": 1e-3, "rms_decay": 0.9}),
        ("AdaDelta", adadelta, 0.9, {"delta": 1e-3}),
        ("Adam", adam, 0.9, {"delta": 1e-3, "momentum2": 0.99}),
    ],
)
def test_five_updates_at_changing_rates(rule, kind, formula, momentum, fields):
    chosen = rule(kind, momentum=momentum, **fields)
    random = np.random.default_rng(0)
    wanted = random.normal(size=(3, 4))
    blob, history = torch.tensor(wanted), [torch.zeros(3, 4, dtype=torch.float64) for _ in range(chosen.slots)]
    kept = [np.zeros((3, 4)) for _ in range(chosen.slots)]
    for iteration, rate in enumerate((0.1, 0.1, 0.05, 0.2, 0.01)):
        gradient = random.normal(size=(3, 4))
        wanted = formula(wanted, gradient, kept, rate, iteration, momentum)
        chosen.update(blob, torch.tensor(gradient), history, rate, iteration)
        # Solver files hold single precision.
        np.testing.assert_allclose(blob, wanted, rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(history, kept, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_only_rules_that_stand_still_without_rate_and_history_are_lazy(rule):
    assert [rule(kind, momentum=0.5).lazy for kind in ("SGD", "Nesterov", "AdaDelta", "Adam")] == [
        True,
        True,
        False,
        False,
    ]


def test_decays_of_three_kinds():
    blob = torch.tensor([3.0, -4.0, 0.0])
    for kind, expected in (("L2", [0.3, -0.4, 0]), ("L1", [0.1, -0.1, 0]), ("L2sqrt", [0.06, -0.08, 0])):
        gradient = torch.zeros(3)
        regularize(kind, blob, gradient, 0.1)
        torch.testing.assert_close(gradient, torch.tensor(expected, dtype=torch.float32))
    gradient = torch.zeros(2)
    regularize("L2sqrt", torch.zeros(2), gradient, 0.1)
    assert not gradient.any()
    with pytest.raises(ValueError, match="regularization_type 'L3' is unknown; known are L1, L2 and L2sqrt"):
        regularize("L3", blob, torch.zeros(3), 0.1)


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("AdaGrad", {"momentum": 0.9}, "momentum 0.9 cannot be used with AdaGrad; leave it out"),
        ("SGD", {"momentum": 1}, r"momentum must be in \[0, 1\), is 1"),
        ("RMSProp", {"rms_decay": 1}, r"rms_decay must be in \[0, 1\), is 1"),
        ("SGD", {"weight_decay": "inf"}, "weight_decay must be a finite number, is inf"),
        ("SGD", {"clip_gradients": "nan"}, "clip_gradients must be a number, is nan"),
    ],
)
def test_numbers_that_no_rule_takes_are_refused_with_the_file(rule, kind, fields, message):
    with pytest.raises(ValueError, match=rf"s\.prototxt: {message}"):
        rule(kind, **fields)
