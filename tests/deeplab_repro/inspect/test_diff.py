"""Recorded blobs against a net's own."""

import numpy as np
import pytest

from deeplab_repro.inspect.diff import diff_net, first_off
from deeplab_repro.inspect.recording import load_parameters, read_recordings
from deeplab_repro.net.load import load_caffe
from tests.deeplab_repro.inspect.recordings import golden


def test_equal_blobs_agree_in_the_order_of_the_layers(tmp_path, net, blobs):
    (recording,) = read_recordings(golden(tmp_path / "g.npz", blobs), net.inputs)
    rows = diff_net(net, recording)
    assert [row.blob for row in rows] == ["conv1", "pool1", "fc", "fc_interp"]
    assert [row.layer for row in rows] == ["relu1", "pool1", "fc", "fc_interp"]
    assert all(row.ok and row.max_abs == 0 and row.cosine == pytest.approx(1) for row in rows)


def test_the_worst_place_and_its_values_are_told(tmp_path, net, blobs):
    changed = blobs["fc"].copy()
    changed[0, 3, 5, 7] += 0.25
    (recording,) = read_recordings(golden(tmp_path / "g.npz", blobs, **{"out/fc": changed}), net.inputs)
    row = next(row for row in diff_net(net, recording) if row.blob == "fc")
    assert not row.ok
    assert row.worst == (0, 3, 5, 7)
    assert row.max_abs == pytest.approx(0.25, rel=1e-5)
    assert row.max_rel == pytest.approx(0.25 / np.abs(changed).max(), rel=1e-5)
    assert row.golden - row.ours == pytest.approx(0.25, rel=1e-5)


def test_missing_blobs_shapes_and_nan_are_noted(tmp_path, net, blobs):
    changed = {"out/other": np.zeros(3), "out/fc": blobs["fc"][:, :2], "out/pool1": blobs["pool1"] * np.nan}
    (recording,) = read_recordings(golden(tmp_path / "g.npz", blobs, **changed), net.inputs)
    notes = {row.blob: row.note for row in diff_net(net, recording) if not row.ok}
    assert notes["other"] == "no such blob"
    assert notes["fc"].startswith("shape [1, 5,")
    assert "NaN" in notes["pool1"]


def test_axes_of_length_one_do_not_count_as_shape(tmp_path, net, blobs):
    (recording,) = read_recordings(golden(tmp_path / "g.npz", blobs, **{"out/fc": blobs["fc"][0]}), net.inputs)
    assert all(row.ok for row in diff_net(net, recording))


def test_an_input_that_is_not_recorded_is_named(tmp_path, net, blobs):
    np.savez(tmp_path / "g.npz", **{"out/fc": blobs["fc"]})
    (recording,) = read_recordings(tmp_path / "g.npz", net.inputs)
    with pytest.raises(ValueError, match="data"):
        diff_net(net, recording)


def _states(net, path, **options):
    (recording,) = read_recordings(path, net.inputs)
    rows = diff_net(net, recording, **options)
    return rows, [row.state for row in rows]


def test_rows_are_green_up_to_the_first_layer_that_is_off(tmp_path, net, blobs):
    changed = {"out/pool1": blobs["pool1"] + 1, "out/fc_interp": blobs["fc_interp"] + 1}
    rows, states = _states(net, golden(tmp_path / "g.npz", blobs, **changed))
    assert states == ["ok", "off", "after", "inherited"]
    assert first_off(rows).layer == "pool1"
    assert first_off(rows[:1]) is None


def test_an_in_place_chain_is_named_whole(tmp_path, net, blobs):
    path = golden(tmp_path / "g.npz", blobs, **{"out/conv1": blobs["conv1"] + 1})
    rows, states = _states(net, path)
    assert rows[0].writers == ("conv1", "relu1")
    assert states == ["off", "after", "after", "after"]


TWO_BRANCHES = """\
input: "data" input_shape { dim: 1 dim: 3 dim: 5 dim: 5 }
layer { name: "a" type: "Power" bottom: "data" top: "a" power_param { scale: 2 } }
layer { name: "b" type: "Power" bottom: "data" top: "b" power_param { scale: 3 } }
layer { name: "a2" type: "Power" bottom: "a" top: "a2" power_param { scale: 3 } }
layer { name: "sum" type: "Eltwise" bottom: "a2" bottom: "b" top: "sum" }
"""


def test_a_branch_that_reads_nothing_wrong_is_off_in_its_own_right(tmp_path):
    (tmp_path / "n.prototxt").write_text(TWO_BRANCHES)
    data = np.ones((1, 3, 5, 5), np.float32)
    right = {"a": 2, "b": 3, "a2": 6, "sum": 9}
    for wrong, expected in (
        (("a", "b", "sum"), ["off", "off", "after", "inherited"]),
        (("a2", "sum"), ["ok", "ok", "off", "inherited"]),
        (("b", "a2"), ["ok", "off", "off", "after"]),
    ):
        values = {f"out/{name}": data * (value + (name in wrong)) for name, value in right.items()}
        np.savez(tmp_path / "g.npz", **{"in/data": data, **values})
        assert _states(load_caffe(tmp_path / "n.prototxt"), tmp_path / "g.npz")[1] == expected


def test_gradients_are_compared_from_the_last_layer_to_the_first(tmp_path, net, blobs, gradients):
    path = golden(tmp_path / "g.npz", blobs, **gradients)
    rows, states = _states(net, path, backward=True)
    assert set(states) == {"ok"}
    assert [row.blob for row in rows if row.kind == "gradient"] == [
        *("fc/0", "fc/1", "pool1", "conv1/0", "conv1/1", "data"),
    ]
    assert not any(row.kind == "gradient" for row in _states(net, path)[0])
    gradients["pdiff/fc/1"] = gradients["pdiff/fc/1"] + 1
    gradients["diff/data"] = gradients["diff/data"] + 1
    rows, states = _states(net, golden(tmp_path / "g.npz", blobs, **gradients), backward=True)
    assert states == ["ok"] * 5 + ["off", "after", "after", "after", "inherited"]
    assert (first_off(rows).layer, first_off(rows).blob) == ("fc", "fc/1")


def test_gradients_start_from_the_loss_and_may_be_samples(tmp_path):
    (tmp_path / "n.prototxt").write_text(
        TWO_BRANCHES.replace('"Power" bottom: "a" top: "a2" power_param { scale: 3 }', '"Scale" bottom: "a" top: "a2"')
        + 'layer { name: "loss" type: "EuclideanLoss" bottom: "sum" bottom: "b" top: "loss" }'
    )
    net = load_caffe(tmp_path / "n.prototxt")
    data = np.random.default_rng(0).normal(size=(1, 3, 5, 5)).astype(np.float32)
    scale = np.float32([1, 2, 3]).reshape(1, 3, 1, 1)
    loss = (2 * data * scale) ** 2
    gradient = (2 * data * scale * 2 * data).sum((0, 2, 3))
    entries = {"in/data": data, "param/a2/0": scale.ravel(), "loss": np.float32(loss.sum() / 2)}
    np.savez(tmp_path / "g.npz", **entries, **{"psample/a2/0": gradient[[2, 0]], "pidx/a2/0": np.array([2, 0])})
    (recording,) = read_recordings(tmp_path / "g.npz", net.inputs)
    load_parameters(net, recording)
    rows = diff_net(net, recording, backward=True)
    assert [(row.kind, row.state) for row in rows] == [("loss", "ok"), ("gradient", "ok")]
