"""What is right is timed, what is wrong is named: a peer is left out, one of ours fails."""

import math

from deeplab_repro.bench.gate import judge, remarks


def fails():
    raise RuntimeError("no kernel\nof this kind")


def test_right_calls_are_kept_wrong_ones_named_by_whose_they_are():
    calls = {
        "ours": lambda: 0.5,
        "wrong": lambda: 3.0,
        "unknown": lambda: math.nan,
        "broken": fails,
        "peer": lambda: 1.0,
        "peer off": lambda: 9.0,
    }
    right, verdict = judge(calls, ("peer", "peer off"), lambda result: result, lambda name: 1.0)
    assert list(right) == ["ours", "peer"]
    assert verdict.wrong == ["wrong error 3.0e+00", "unknown error nan", "broken no kernel"]
    assert verdict.left_out == {"peer off": "error 9.0e+00"}
    assert "broken" not in verdict.errors
    row = verdict.row()
    assert row["passed"] is False
    assert remarks(row) == [
        "WRONG: wrong error 3.0e+00, unknown error nan, broken no kernel",
        "peer off left out (error 9.0e+00)",
    ]


def test_a_peer_alone_fails_nothing_and_a_silent_error_is_named_by_its_type():
    def silent():
        raise MemoryError

    _, verdict = judge({"peer": silent}, ("peer",), float, lambda name: 1.0)
    assert verdict.row()["passed"] is True
    assert remarks(verdict.row()) == ["peer left out (MemoryError)"]


def test_each_name_has_its_own_tolerance():
    right, _ = judge({"a": lambda: 2, "b": lambda: 2}, (), float, {"a": 1.0, "b": 3.0}.__getitem__)
    assert list(right) == ["b"]
