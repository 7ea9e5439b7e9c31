import json

import numpy as np
import pytest

from deeplab_repro.train import learning_rates
from deeplab_repro.train.settings import Settings
from prototxt_import import read_solver
from tests.paths import SHARED

RATES = SHARED / "golden" / "caffe" / "solver" / "lr_policies" / "lr_policies.json"


def solver(tmp_path, text):
    (tmp_path / "s.prototxt").write_text(text)
    return tmp_path / "s.prototxt"


@pytest.mark.skipif(not RATES.is_file(), reason="recorded rates are not here (../shared/golden/caffe)")
def test_every_policy_gives_caffes_rates(tmp_path):
    for case in json.loads(RATES.read_text()).values():
        text = f"base_lr: {case['base_lr']} max_iter: {case['max_iter']} {case['prototxt']}"
        at = case.get("iters") or list(range(len(case["lr"])))
        ours = learning_rates(solver(tmp_path, text), max(at) + 1)[at]
        assert np.allclose(ours, case["lr"], rtol=2e-7, atol=0)


def test_multistep_takes_one_step_an_iteration(tmp_path):
    file = solver(tmp_path, 'base_lr: 1 lr_policy: "multistep" gamma: 0.5 stepvalue: 2 stepvalue: 2 max_iter: 9')
    assert learning_rates(file, 5).tolist() == [1, 1, 0.5, 0.25, 0.25]


@pytest.mark.parametrize(
    ("text", "rates", "word"),
    [
        ('base_lr: 1 lr_policy: "step" stepsize: 2', [1, 1, 0, 0], "gamma is 0 or missing"),
        ('base_lr: 1 lr_policy: "multistep" stepvalue: 3', [1, 1, 1, 0], "gamma is 0 or missing"),
        ('base_lr: 1 lr_policy: "exp"', [1, 0, 0, 0], "gamma is 0 or missing"),
        ('base_lr: 1 lr_policy: "sigmoid" stepsize: 2', [0.5] * 4, "half of base_lr"),
        ('base_lr: 1 lr_policy: "poly"', [1] * 4, "power is 0 or missing"),
        ('base_lr: 1 lr_policy: "multistep" gamma: 0.5', [1] * 4, "no stepvalue"),
        ('lr_policy: "fixed"', [0] * 4, "base_lr is 0"),
        ('base_lr: -1 lr_policy: "fixed"', [-1] * 4, "the loss is climbed"),
        ('base_lr: 1 lr_policy: "fixed" snapshot_diff: true', [1] * 4, "snapshot_diff is ignored"),
        ('base_lr: 1 lr_policy: "fixed" device_id: 2', [1] * 4, "device_id 2 is ignored"),
        ('base_lr: 1 lr_policy: "fixed"', [1] * 4, None),
    ],
)
def test_odd_values_are_taken_as_by_caffe_with_a_note(tmp_path, text, rates, word):
    file = solver(tmp_path, f"max_iter: 5 {text}")
    assert learning_rates(file, 4).tolist() == rates
    notes = Settings().notes_on(read_solver(file))
    assert [word in note for note in notes] == [True] * (word is not None)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('lr_policy: "pol"', "poly"),
        ('lr_policy: "step"', "stepsize"),
        ("", "s.prototxt: has no lr_policy"),
        ('lr_policy: "poly" power: nan', "power must be a finite number, is nan"),
        ('lr_policy: "exp" gamma: inf', "gamma must be a finite number, is inf"),
    ],
)
def test_policies_that_make_no_sense_are_refused(tmp_path, text, word):
    with pytest.raises(ValueError, match=word):
        learning_rates(solver(tmp_path, f"base_lr: 1 max_iter: 5 {text}"), 3)
