"""Whole nets are checked against float64 before they are timed, and alike in every runtime."""

import json

import pytest
import torch

from deeplab_repro.bench import net, net_peers, plot, run
from deeplab_repro.bench.cases import LARGE_NET_CASES, NET_CASES, NetCase

TINY = NetCase("LargeFOV", "deeplab_largefov", "fc8_voc12", 33, {"width": 1 / 16})
TINY_MSC = NetCase("MSC", "deeplab_resnet101", "fc_fusion", 65, {"width": 1 / 32, "depths": (1, 1, 1, 1)})


@pytest.fixture
def uncompiled(monkeypatch):
    """torch.compile takes half a minute on a small net."""
    monkeypatch.setattr(torch, "compile", lambda module: module)


@pytest.mark.parametrize("case", [TINY, TINY_MSC], ids=lambda case: case.title)
def test_peers_run_the_same_net(case):
    made = net.build(case)
    data = torch.randn(1, 3, case.size, case.size) * 50
    want = made(data=data, blobs=[case.scores])[case.scores].detach()
    peers = {"torch": net_peers.TorchNet(made, case.scores), **net_peers.onnx_peers(made, case.scores, data)}
    for name, peer in peers.items():
        got = peer(data) if name == "torch" else torch.from_numpy(peer())
        assert (got - want).abs().max() < 1e-4 * want.abs().max(), name


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


def test_cases_name_blobs_of_their_nets():
    for case in (*NET_CASES, *LARGE_NET_CASES):
        options = {**case.options, "width": 1 / 32, "size": (65, 65)}
        assert case.scores in net.build(NetCase(case.title, case.model, case.scores, 65, options)).spec.blobs


def test_bench_verb_draws_and_writes_what_it_timed(tmp_path, monkeypatch, uncompiled, capsys):
    from typer.testing import CliRunner

    from deeplab_repro.cli import app

    monkeypatch.setattr(run, "NET_CASES", (TINY,))
    files = tmp_path / "rows.json", tmp_path / "rows.png"
    arguments = ["bench", "net", "--device", "cpu", "--seconds", "0", "--json", str(files[0]), "--plot", str(files[1])]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert json.loads(files[0].read_text())["net"][0]["passed"]
    assert files[1].read_bytes().startswith(b"\x89PNG")
    result = CliRunner().invoke(app, ["bench", "nets"])
    assert result.exit_code == 2
    assert "did you mean 'net'?" in result.stderr


def test_nothing_timed_is_nothing_to_draw(tmp_path):
    with pytest.raises(ValueError, match="nothing was timed"):
        plot.plot({"machine": {}, "net": [{"passed": False, "times": {}}]}, tmp_path / "no.png")
