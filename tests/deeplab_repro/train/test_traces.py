"""Recorded traces of Caffe's solvers; tolerances are the manifest's, tightened to what was reached."""

import numpy as np
import pytest

from deeplab_repro.train.settings import Settings
from deeplab_repro.train.trainer import Trainer
from deeplab_repro.train.watch.watchers import Watcher
from prototxt_import import read_solver, read_solverstate, read_weights
from tests.paths import SHARED

CASES = SHARED / "golden" / "caffe" / "solver"
# Divisions by roots of small histories amplify rounding.
BOUNDS = {"AdaDelta": 1e-3, "RMSProp": 1e-4, "Adam": 1e-4, "AdaGrad": 1e-4}
RESUMED = [
    ("sgd_poly", "snap_iter_5.solverstate"),
    ("sgd_poly", "snap_h5_iter_5.solverstate.h5"),
]
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="recorded traces are not here (../shared/golden/caffe)")


class Kept(Watcher):
    def __init__(self):
        self.rows = []

    def iterated(self, iteration):
        self.rows.append(iteration)


def run(case, prefix, **settings):
    kept = Kept()
    solver = read_solver(CASES / case / "solver.prototxt")
    with Trainer(solver, Settings(snapshot_prefix=str(prefix), max_iter=20, **settings), watchers=[kept]) as trainer:
        trainer.run()
    return solver, kept.rows


def worst(trace, weights, start):
    error = 0.0
    for key in (key for key in trace.files if key.startswith(start)):
        layer, index = key[len(start) :].rsplit("/", 1)
        ours = np.asarray(weights[layer][int(index)]).reshape(trace[key].shape)
        error = max(error, np.abs(ours - trace[key]).max() / max(np.abs(trace[key]).max(), 1e-6))
    return error


@pytest.mark.parametrize("case", sorted(trace.parent.name for trace in CASES.glob("*/trace.npz")))
def test_solver_follows_caffes_trace(case, tmp_path):
    solver, rows = run(case, tmp_path / "s", weights=(CASES / case / "init.caffemodel",))
    trace = np.load(CASES / case / "trace.npz")
    bound = BOUNDS.get(solver.type, 5e-6)
    assert worst(trace, read_weights(tmp_path / "s_iter_20.caffemodel"), "w20/") <= bound
    assert np.abs(np.array([row.loss for row in rows]) / trace["loss"] - 1).max() <= max(bound, 1e-5)
    assert np.abs(np.array([row.rate for row in rows]) / trace["lr"] - 1).max() <= 1e-6
    history = read_solverstate(tmp_path / "s_iter_20.solverstate").history
    for index, ours in enumerate(history):
        want = trace[f"hist20/{index}"]
        assert np.abs(ours.reshape(want.shape) - want).max() <= 20 * bound * max(np.abs(want).max(), 1e-6)


@pytest.mark.parametrize(("case", "state"), RESUMED)
def test_caffes_own_state_restarts_the_data(case, state, tmp_path):
    _, rows = run(case, tmp_path / "s", snapshot=str(CASES / case / state))
    trace = np.load(CASES / case / "trace.npz")
    assert worst(trace, read_weights(tmp_path / "s_iter_20.caffemodel"), "resume5/w20/") <= 5e-6
    assert [row.number for row in rows] == list(range(5, 20))
    assert np.abs(np.array([row.loss for row in rows]) / trace["resume5/loss"] - 1).max() <= 1e-5
