"""`deeplab diff`: what it prints and writes of a net beside its recording, and its exit code."""

import json

import numpy as np

from tests.deeplab_repro.inspect.recordings import golden


def test_the_verb_exits_with_0_or_1(tmp_path, toy, blobs, deeplab):
    arguments = ("diff", toy.prototxt, toy.caffemodel, "--golden", golden(tmp_path / "g.npz", blobs))
    result = deeplab(*arguments)
    assert result.exit_code == 0, result.output
    assert "4 blobs agree" in result.stdout
    golden(tmp_path / "g.npz", blobs, **{"out/fc": blobs["fc"] + np.float32(0.01)})
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


def test_an_in_place_chain_is_named_whole(tmp_path, toy, blobs, deeplab):
    path = golden(tmp_path / "g.npz", blobs, **{"out/conv1": blobs["conv1"] + 1})
    result = deeplab("diff", toy.prototxt, toy.caffemodel, "--golden", path)
    assert "the first is layer conv1 or relu1 (in place), blob conv1: off by" in result.stdout


def test_backward_on_the_command_line(tmp_path, toy, blobs, gradients, deeplab, refused):
    path = golden(tmp_path / "g.npz", blobs, **gradients)
    verb = ("diff", toy.prototxt, toy.caffemodel, "--golden", path)
    assert "--backward compares them" in deeplab(*verb).stdout
    result = deeplab(*verb, "--backward")
    assert result.exit_code == 0, result.output
    assert "4 blobs and 6 gradients agree" in result.stdout
    refused("no gradients to compare", *verb[:-1], golden(tmp_path / "h.npz", blobs), "--backward")


def test_json_names_the_first_layer_that_is_off(tmp_path, toy, blobs, deeplab):
    path = golden(tmp_path / "g.npz", blobs, **{"out/fc": blobs["fc"] + 1})
    answer = json.loads(deeplab("diff", toy.prototxt, toy.caffemodel, "--golden", path, "--json", "-").stdout)
    assert (answer["first"]["layer"], answer["first"]["type"]) == ("fc", "Convolution")
    assert [row["state"] for row in answer["rows"]] == ["ok", "ok", "off", "after"]


def test_what_run_writes_diff_reads(tmp_path, toy, blobs, deeplab):
    np.save(tmp_path / "x.npy", blobs["data"])
    run = ("run", toy.prototxt, toy.caffemodel, "--input", f"data={tmp_path / 'x.npy'}", "--blobs", "all")
    assert deeplab(*run, "-o", tmp_path / "o.npz").exit_code == 0
    assert deeplab("diff", toy.prototxt, toy.caffemodel, "--golden", tmp_path / "o.npz").exit_code == 0


def test_what_diff_refuses(tmp_path, toy, blobs, refused):
    good = golden(tmp_path / "g.npz", blobs)
    (tmp_path / "bad.npz").write_text("hello")
    np.savez(tmp_path / "none.npz", **{"in/data": blobs["data"]})
    diff = ("diff", toy.prototxt, toy.caffemodel, "--golden")
    refused("bad.npz", *diff, tmp_path / "bad.npz")
    refused("gone.npz", *diff, tmp_path / "gone.npz")
    refused("no blobs to compare", *diff, tmp_path / "none.npz")
    refused("none.caffemodel", "diff", toy.prototxt, tmp_path / "none.caffemodel", "--golden", good)
    refused("--rtol", *diff, good, "--rtol", -1)
    refused("/proc/nope", *diff, good, "--json", "/proc/nope/a.json")
