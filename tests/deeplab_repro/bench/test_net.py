"""Whole nets are checked against float64 before they are timed, and alike in every runtime."""

import json

import pytest
import torch

from deeplab_repro.bench import net
from tests.deeplab_repro.bench.tiny_nets import TINY


@pytest.fixture
def uncompiled(monkeypatch):
    """torch.compile takes half a minute on a small net."""
    monkeypatch.setattr(torch, "compile", lambda module: module)


def test_row_holds_errors_times_and_ratios(uncompiled):
    (row,) = net.bench_net([TINY], "cpu", seconds=0)
    assert row["passed"], row["wrong"]
    assert {"nchw", "nhwc", "compile", "exact", "fast"} <= set(row["times"])
    assert set(row["speed_over_best_peer"]) == {"exact", "fast"}
    assert row["images_per_second"]["exact"] > 0
    assert json.loads(json.dumps(row)) == row
    assert "of the best peer" in net.format_row(row)


def test_bfloat16_is_timed_against_bfloat16(uncompiled):
    (row,) = net.bench_net([TINY], "cpu", ["bf16"], seconds=0)
    assert row["passed"], row["wrong"]
    assert set(row["times"]) == {"nchw", "nhwc", "compile", "bf16"}


def test_a_wrong_prepared_net_is_not_timed(monkeypatch, uncompiled):
    monkeypatch.setitem(net.BOUNDS, "exact", 0.0)
    (row,) = net.bench_net([TINY], "cpu", seconds=0)
    assert not row["passed"]
    assert "exact" not in row["times"]
    assert set(row["speed_over_best_peer"]) == {"fast"}
    assert "WRONG: exact" in net.format_row(row)


def test_a_peer_that_fails_is_named_and_left_out(monkeypatch):
    def broken(module):
        def call(x):
            raise RuntimeError("no compiler\nhere")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    (row,) = net.bench_net([TINY], "cpu", seconds=0)
    assert row["left_out"] == {"compile": "no compiler"}
    assert "compile" not in row["times"]
    assert "compile left out (no compiler)" in net.format_row(row)
