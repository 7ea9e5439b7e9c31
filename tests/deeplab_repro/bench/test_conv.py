"""Convolutions that are right are timed, wrong ones named; only a wrong one of ours fails."""

import json
import os
import subprocess
import sys

import pytest
import torch

from deeplab_repro.bench import conv, run
from deeplab_repro.bench.cases import ConvCase
from tests.paths import ROOT

TINY = ConvCase("tiny", 8, 6, 3, 2, 7)
PROGRAM = """
from deeplab_repro.bench.cases import ConvCase
from deeplab_repro.bench.conv import DIRECTIONS, bench_conv
cases = [ConvCase("tiny", 8, 6, 3, 2, 7), ConvCase("small", 64, 40, 3, 6, 15), ConvCase("even", 16, 24, 4, 2, 11)]
for row in bench_conv(cases, "cpu", directions=DIRECTIONS, seconds=0):
    assert row["passed"] and not row["left_out"], row
"""


def fail() -> tuple[torch.Tensor, ...]:
    raise RuntimeError("no such kernel\nhere")


def spoil(monkeypatch, name: str, failing: bool = False) -> None:
    """Make one variant double its results, or fail."""
    variants = conv._variants

    def spoiled(*arguments):
        calls = variants(*arguments)
        right = calls[name]
        calls[name] = fail if failing else lambda: tuple(2 * result for result in right())
        return calls

    monkeypatch.setattr(conv, "_variants", spoiled)


@pytest.mark.parametrize("direction", conv.DIRECTIONS)
def test_conv_row_holds_errors_and_times(direction):
    (row,) = conv.bench_conv([TINY], "cpu", directions=[direction], seconds=0)
    assert row["passed"]
    assert set(row["times"]) == set(row["errors"]) >= {"nchw", "nhwc", "auto", "fast", "direct", "im2col"}
    assert ("choices" in row) == (direction == "forward")
    assert row["speed_over_nchw"]["nchw"] == 1
    assert json.loads(json.dumps(row)) == row
    assert "im2col" in conv.format_row(row)


@pytest.mark.parametrize("capability", ["plain", "avx2"])
def test_every_way_is_right_on_lower_instruction_sets(capability):
    environment = {**os.environ, "DEEPLAB_CPU_CAPABILITY": capability, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize(("failing", "reason"), [(False, r"error 1.0e+00"), (True, "no such kernel")])
@pytest.mark.parametrize("direction", conv.DIRECTIONS)
def test_a_peer_that_is_wrong_or_fails_is_named_and_left_out_of_the_ratios(monkeypatch, direction, failing, reason):
    spoil(monkeypatch, "nchw", failing)
    (row,) = conv.bench_conv([TINY], "cpu", directions=[direction], seconds=0)
    assert row["passed"]
    assert row["left_out"] == {"nchw": reason}
    assert "nchw" not in row["times"]
    assert row["speed_over_nchw"] == {}
    assert {"nhwc", "auto", "direct"} <= set(row["times"])
    assert f"nchw left out ({reason})" in conv.format_row(row)


@pytest.mark.parametrize(("failing", "reason"), [(False, r"error 1.0e+00"), (True, "no such kernel")])
@pytest.mark.parametrize("name", ["auto", "winograd2", "im2col"])
def test_one_of_ours_that_is_wrong_or_fails_drops_itself_and_not_the_row(monkeypatch, name, failing, reason):
    spoil(monkeypatch, name, failing)
    (row,) = conv.bench_conv([TINY], "cpu", seconds=0)
    assert not row["passed"]
    assert row["wrong"] == [f"{name} {reason}"]
    assert set(row["times"]) == {
        "nchw", "nhwc", "auto", "fast", "direct", "winograd2", "winograd4", "library", "interlace", "im2col",
    } - {name}  # fmt: skip
    assert row["speed_over_nchw"]["direct"] > 0
    assert f"WRONG: {name} {reason}" in conv.format_row(row)


@pytest.mark.parametrize(("name", "code"), [("nhwc", 0), ("direct", 1)])
def test_the_exit_code_tells_of_ours_alone(monkeypatch, capsys, name, code):
    monkeypatch.setattr(run, "conv_cases", lambda full, batches, only: [TINY])
    spoil(monkeypatch, name)
    assert run.main(["conv", "--seconds", "0"]) == code
    assert f"{name} " in capsys.readouterr().out


def test_not_a_number_is_wrong(monkeypatch):
    monkeypatch.setattr(conv, "atrous_conv2d", lambda *a, method: torch.full((1, 6, 7, 7), float("nan")))
    (row,) = conv.bench_conv([TINY], "cpu", seconds=0)
    assert row["wrong"] == ["im2col error nan"]
