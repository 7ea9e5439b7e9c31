"""Recorded blobs against a net's own."""

import html
import json
import re

import numpy as np
import pytest
import torch

from deeplab_repro.inspect.diff import diff_net, first_off
from deeplab_repro.inspect.recording import golden_files, load_parameters, read_recordings
from deeplab_repro.net.load import load_caffe


@pytest.fixture(scope="module")
def net(toy):
    return load_caffe(toy.prototxt, toy.caffemodel)


@pytest.fixture(scope="module")
def blobs(net):
    x = torch.from_numpy(np.random.default_rng(8).normal(size=(1, 3, 33, 41)).astype(np.float32))
    with torch.no_grad():
        return {"data": x.numpy()} | {name: value.numpy() for name, value in net(data=x, blobs="all").items()}


def _golden(path, blobs, **changed):
    arrays = {("in/" if name == "data" else "out/") + name: value for name, value in blobs.items()}
    np.savez(path, **{**arrays, **changed})
    return path


def test_equal_blobs_agree_in_the_order_of_the_layers(tmp_path, net, blobs):
    (recording,) = read_recordings(_golden(tmp_path / "g.npz", blobs), net.inputs)
    rows = diff_net(net, recording)
    assert [row.blob for row in rows] == ["conv1", "pool1", "fc", "fc_interp"]
    assert [row.layer for row in rows] == ["relu1", "pool1", "fc", "fc_interp"]
    assert all(row.ok and row.max_abs == 0 and row.cosine == pytest.approx(1) for row in rows)


def test_the_worst_place_and_its_values_are_told(tmp_path, net, blobs):
    changed = blobs["fc"].copy()
    changed[0, 3, 5, 7] += 0.25
    (recording,) = read_recordings(_golden(tmp_path / "g.npz", blobs, **{"out/fc": changed}), net.inputs)
    row = next(row for row in diff_net(net, recording) if row.blob == "fc")
    assert not row.ok
    assert row.worst == (0, 3, 5, 7)
    assert row.max_abs == pytest.approx(0.25, rel=1e-5)
    assert row.max_rel == pytest.approx(0.25 / np.abs(changed).max(), rel=1e-5)
    assert row.golden - row.ours == pytest.approx(0.25, rel=1e-5)


def test_samples_are_compared_at_their_places(tmp_path, net, blobs):
    index = np.array([3, 1000, 17])
    values = blobs["conv1"].ravel()[index] + np.float32([0, 1, 0])
    extra = {"sample/conv1": values, "idx/conv1": index, "shape/conv1": np.array(blobs["conv1"].shape)}
    np.savez(tmp_path / "g.npz", **{"in/data": blobs["data"], **extra})
    (recording,) = read_recordings(tmp_path / "g.npz", net.inputs)
    (row,) = diff_net(net, recording)
    assert row.worst == tuple(int(i) for i in np.unravel_index(1000, blobs["conv1"].shape))
    assert row.max_abs == pytest.approx(1, rel=1e-5)


def test_byte_images_have_their_mean_subtracted(tmp_path, net):
    image = np.random.default_rng(9).integers(0, 256, (1, 3, 33, 33), np.uint8)
    np.savez(tmp_path / "g.npz", **{"in_u8/data": image, "mean": np.array([1.0, 2.0, 3.0]), "out/fc": np.zeros(1)})
    (recording,) = read_recordings(tmp_path / "g.npz", net.inputs)
    np.testing.assert_array_equal(recording.inputs["data"][0, :, 0, 0], image[0, :, 0, 0] - np.float32([1, 2, 3]))


def test_plain_names_are_blobs(tmp_path, net, blobs):
    np.savez(tmp_path / "g.npz", **blobs)
    (recording,) = read_recordings(tmp_path / "g.npz", net.inputs)
    assert len(diff_net(net, recording)) == 4


def test_passes_keep_inputs_that_do_not_change(tmp_path, net, blobs):
    arrays = {"pass0/in/data": blobs["data"], "pass0/out/fc": blobs["fc"], "pass10/out/fc": blobs["fc"] + 1}
    np.savez(tmp_path / "g.npz", **arrays, **{"pass2/out/fc": blobs["fc"]})
    recordings = read_recordings(tmp_path / "g.npz", net.inputs)
    assert [diff_net(net, each)[0].ok for each in recordings] == [True, True, False]


def test_missing_blobs_shapes_and_nan_are_noted(tmp_path, net, blobs):
    changed = {"out/other": np.zeros(3), "out/fc": blobs["fc"][:, :2], "out/pool1": blobs["pool1"] * np.nan}
    (recording,) = read_recordings(_golden(tmp_path / "g.npz", blobs, **changed), net.inputs)
    notes = {row.blob: row.note for row in diff_net(net, recording) if not row.ok}
    assert notes["other"] == "no such blob"
    assert notes["fc"].startswith("shape [1, 5,")
    assert "NaN" in notes["pool1"]


def test_axes_of_length_one_do_not_count_as_shape(tmp_path, net, blobs):
    (recording,) = read_recordings(_golden(tmp_path / "g.npz", blobs, **{"out/fc": blobs["fc"][0]}), net.inputs)
    assert all(row.ok for row in diff_net(net, recording))


def test_an_input_that_is_not_recorded_is_named(tmp_path, net, blobs):
    np.savez(tmp_path / "g.npz", **{"out/fc": blobs["fc"]})
    (recording,) = read_recordings(tmp_path / "g.npz", net.inputs)
    with pytest.raises(ValueError, match="data"):
        diff_net(net, recording)


def test_golden_files_of_a_folder(tmp_path):
    for name in ("b.npz", "a.npz", "c.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in golden_files(tmp_path)] == ["a.npz", "b.npz"]
    (tmp_path / "deeper").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no \.npz"):
        golden_files(tmp_path / "deeper")


def test_the_verb_exits_with_0_or_1(tmp_path, toy, blobs, deeplab):
    arguments = ("diff", toy.prototxt, toy.caffemodel, "--golden", _golden(tmp_path / "g.npz", blobs))
    result = deeplab(*arguments)
    assert result.exit_code == 0, result.output
    assert "4 blobs agree" in result.stdout
    _golden(tmp_path / "g.npz", blobs, **{"out/fc": blobs["fc"] + np.float32(0.01)})
    result = deeplab(*arguments)
    assert result.exit_code == 1
    assert (
        "1 of 4 rows beyond tolerance; the first is layer fc (Convolution), blob fc: off by 1.00e-02" in result.stdout
    )
    assert deeplab(*arguments, "--atol", 0.02).exit_code == 0
    result = deeplab(*arguments, "--json", "-")
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert not answer["ok"]
    assert [row["blob"] for row in answer["rows"] if not row["ok"]] == ["fc"]


def _states(net, path, **options):
    (recording,) = read_recordings(path, net.inputs)
    rows = diff_net(net, recording, **options)
    return rows, [row.state for row in rows]


def test_rows_are_green_up_to_the_first_layer_that_is_off(tmp_path, net, blobs):
    changed = {"out/pool1": blobs["pool1"] + 1, "out/fc_interp": blobs["fc_interp"] + 1}
    rows, states = _states(net, _golden(tmp_path / "g.npz", blobs, **changed))
    assert states == ["ok", "off", "after", "inherited"]
    assert first_off(rows).layer == "pool1"
    assert first_off(rows[:1]) is None


def test_an_in_place_chain_is_named_whole(tmp_path, net, blobs, toy, deeplab):
    path = _golden(tmp_path / "g.npz", blobs, **{"out/conv1": blobs["conv1"] + 1})
    rows, states = _states(net, path)
    assert rows[0].writers == ("conv1", "relu1")
    assert states == ["off", "after", "after", "after"]
    result = deeplab("diff", toy.prototxt, toy.caffemodel, "--golden", path)
    assert "the first is layer conv1 or relu1 (in place), blob conv1: off by" in result.stdout


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


@pytest.fixture
def gradients(net, blobs):
    """A recording's entries of one backward pass from fc_interp."""
    x = torch.tensor(blobs["data"], requires_grad=True)
    out = net(data=x, blobs="all")
    out["pool1"].retain_grad()
    seed = torch.from_numpy(np.random.default_rng(3).normal(size=out["fc_interp"].shape).astype(np.float32))
    net.zero_grad()
    out["fc_interp"].backward(seed)
    entries = {"topdiff/fc_interp": seed.numpy(), "diff/data": x.grad.numpy(), "diff/pool1": out["pool1"].grad.numpy()}
    for layer in ("conv1", "fc"):
        entries |= {f"pdiff/{layer}/{i}": blob.grad.numpy().copy() for i, blob in enumerate(net.params[layer])}
    net.zero_grad()
    return entries


def test_gradients_are_compared_from_the_last_layer_to_the_first(tmp_path, net, blobs, gradients):
    path = _golden(tmp_path / "g.npz", blobs, **gradients)
    rows, states = _states(net, path, backward=True)
    assert set(states) == {"ok"}
    assert [row.blob for row in rows if row.kind == "gradient"] == [
        *("fc/0", "fc/1", "pool1", "conv1/0", "conv1/1", "data"),
    ]
    assert not any(row.kind == "gradient" for row in _states(net, path)[0])
    gradients["pdiff/fc/1"] = gradients["pdiff/fc/1"] + 1
    gradients["diff/data"] = gradients["diff/data"] + 1
    rows, states = _states(net, _golden(tmp_path / "g.npz", blobs, **gradients), backward=True)
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


def test_backward_on_the_command_line(tmp_path, toy, blobs, gradients, deeplab, refused):
    path = _golden(tmp_path / "g.npz", blobs, **gradients)
    verb = ("diff", toy.prototxt, toy.caffemodel, "--golden", path)
    assert "--backward compares them" in deeplab(*verb).stdout
    result = deeplab(*verb, "--backward")
    assert result.exit_code == 0, result.output
    assert "4 blobs and 6 gradients agree" in result.stdout
    refused("no gradients to compare", *verb[:-1], _golden(tmp_path / "h.npz", blobs), "--backward")


def test_the_page_needs_nothing_else(tmp_path, toy, blobs, deeplab):
    changed = {"out/fc": blobs["fc"] + 1, "out/other": np.zeros(2)}
    path = _golden(tmp_path / "g.npz", blobs, **changed)
    page = tmp_path / "diff.html"
    result = deeplab("diff", toy.prototxt, toy.caffemodel, "--golden", path, "--html", page)
    assert result.exit_code == 1
    text = page.read_text()
    assert not re.search(r"https?:|src=|href=|url\(|@import", text)
    assert text.count('<tr class="off">') == 2
    assert result.stdout.splitlines()[-1] in html.unescape(text)
    assert deeplab("diff", toy.prototxt, toy.caffemodel, "--golden", tmp_path / "no.npz", "--html", page).exit_code == 2
    assert page.read_text() == text


def test_json_names_the_first_layer_that_is_off(tmp_path, toy, blobs, deeplab):
    path = _golden(tmp_path / "g.npz", blobs, **{"out/fc": blobs["fc"] + 1})
    answer = json.loads(deeplab("diff", toy.prototxt, toy.caffemodel, "--golden", path, "--json", "-").stdout)
    assert (answer["first"]["layer"], answer["first"]["type"]) == ("fc", "Convolution")
    assert [row["state"] for row in answer["rows"]] == ["ok", "ok", "off", "after"]


def test_what_run_writes_diff_reads(tmp_path, toy, blobs, deeplab):
    np.save(tmp_path / "x.npy", blobs["data"])
    run = ("run", toy.prototxt, toy.caffemodel, "--input", f"data={tmp_path / 'x.npy'}", "--blobs", "all")
    assert deeplab(*run, "-o", tmp_path / "o.npz").exit_code == 0
    assert deeplab("diff", toy.prototxt, toy.caffemodel, "--golden", tmp_path / "o.npz").exit_code == 0


def test_what_diff_refuses(tmp_path, toy, blobs, refused):
    good = _golden(tmp_path / "g.npz", blobs)
    (tmp_path / "bad.npz").write_text("hello")
    np.savez(tmp_path / "none.npz", **{"in/data": blobs["data"]})
    diff = ("diff", toy.prototxt, toy.caffemodel, "--golden")
    refused("bad.npz", *diff, tmp_path / "bad.npz")
    refused("gone.npz", *diff, tmp_path / "gone.npz")
    refused("no blobs to compare", *diff, tmp_path / "none.npz")
    refused("none.caffemodel", "diff", toy.prototxt, tmp_path / "none.caffemodel", "--golden", good)
    refused("--rtol", *diff, good, "--rtol", -1)
    refused("/proc/nope", *diff, good, "--json", "/proc/nope/a.json")
