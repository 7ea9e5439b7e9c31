"""Solver files."""

from __future__ import annotations

import pytest

from prototxt_import import CaffeFormatError, read_solver


def solver(tmp_path, text):
    path = tmp_path / "solver.prototxt"
    path.write_text(text)
    return read_solver(path)


def test_old_enum_and_new_name_give_equal_records(tmp_path):
    assert solver(tmp_path, "solver_type: ADAM base_lr: 0.1") == solver(tmp_path, 'type: "Adam" base_lr: 0.1')


def test_what_is_silent_has_caffes_defaults(tmp_path):
    spec = solver(tmp_path, 'train_net: "t.prototxt" lr_policy: "poly" stepvalue: 3 stepvalue: 5')
    assert (spec.type, spec.iter_size, spec.clip_gradients, spec.rms_decay) == ("SGD", 1, -1.0, None)
    assert (spec.train_net, spec.stepvalue, spec.delta) == ("t.prototxt", (3, 5), 1e-8)
    assert (spec.momentum2, spec.average_loss) == (0.999, 1)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("base_rl: 1", "did you mean 'base_lr'"),
        ('type: "Adamm"', "unknown solver type 'Adamm'"),
        ('type: "SGD" solver_type: SGD', "one of them is enough"),
    ],
)
def test_faulty_solvers_are_refused(tmp_path, text, word):
    with pytest.raises(CaffeFormatError, match=word):
        solver(tmp_path, text)


def test_recorded_solvers_are_read(shared_caffe):
    for path in shared_caffe.glob("solver/*/solver.prototxt"):
        assert read_solver(path).base_lr > 0
