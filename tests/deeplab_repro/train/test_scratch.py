import subprocess

import pytest

from deeplab_repro.train import learning_rates
from deeplab_repro.train.scratch import solver_text, train
from prototxt_import import read_solver


def test_policies_are_those_of_the_papers(tmp_path):
    file = tmp_path / "solver.prototxt"
    file.write_text(solver_text("step", 0.01, 9, 3))
    step = read_solver(file)
    assert (step.net, step.random_seed, step.solver_mode, step.max_iter) == ("train.prototxt", 3, "GPU", 9)
    assert learning_rates(file, 9).tolist() == pytest.approx([0.01] * 3 + [0.001] * 3 + [0.0001] * 3)
    file.write_text(solver_text("poly", 0.01, 9, 3, mode="CPU"))
    poly = read_solver(file)
    assert poly.solver_mode == "CPU"
    assert learning_rates(file, 9)[3] == pytest.approx(0.01 * (1 - 3 / 9) ** 0.9)
    with pytest.raises(ValueError, match="policy must be one of poly, step"):
        solver_text("exp", 0.01, 9, 3)


def test_a_training_that_fails_says_so(tmp_path):
    (tmp_path / "solver.prototxt").write_text(solver_text("poly", 0.01, 9, 3))
    with pytest.raises(subprocess.CalledProcessError):
        train(tmp_path / "solver.prototxt", tmp_path, "cpu")
