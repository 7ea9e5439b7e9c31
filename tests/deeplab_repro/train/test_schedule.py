import json
from pathlib import Path

import numpy as np
import pytest

from deeplab_repro.train import learning_rates

RATES = Path(__file__).parents[4] / "shared" / "golden" / "caffe" / "solver" / "lr_policies" / "lr_policies.json"


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
    ("text", "word"),
    [('lr_policy: "pol"', "poly"), ('lr_policy: "step"', "stepsize"), ("", "lr_policy")],
)
def test_policies_that_make_no_sense_are_refused(tmp_path, text, word):
    with pytest.raises(ValueError, match=word):
        learning_rates(solver(tmp_path, f"base_lr: 1 max_iter: 5 {text}"), 3)
