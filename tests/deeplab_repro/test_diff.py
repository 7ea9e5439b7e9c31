"""Recorded blobs against a net's own."""

import json

import numpy as np
import pytest
import torch

from deeplab_repro.diff import diff_net, golden_files, read_recordings
from deeplab_repro.network import load_caffe


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
    assert "the first is fc" in result.stdout
    assert deeplab(*arguments, "--atol", 0.02).exit_code == 0
    result = deeplab(*arguments, "--json", "-")
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert not answer["ok"]
    assert [row["blob"] for row in answer["rows"] if not row["ok"]] == ["fc"]


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
