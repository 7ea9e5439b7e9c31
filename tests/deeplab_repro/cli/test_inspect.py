"""`deeplab inspect`: what it prints of nets, weights, solvers, means and states, and of two of a kind."""

import json

import h5py
import numpy as np

from prototxt_import import write_net, write_weights
from tests.deeplab_repro.inspect.caffe_files import SOLVER, write_state
from tests.deeplab_repro.inspect.drawn_nets import conv


def test_a_solver_and_a_mean_are_summarised(deeplab, mean_file, solver_file):
    result = deeplab("inspect", mean_file, solver_file)
    assert result.exit_code == 0, result.output
    for word in ("1 x 3 x 2 x 4", "3.500, 11.500, 19.500", "solver SGD", "stepsize", "2000", "0.001"):
        assert word in result.stdout
    assert "iter_size" not in result.stdout
    mean, solver = json.loads(deeplab("inspect", mean_file, solver_file, "--json", "-").stdout)["files"]
    assert mean["channels"] == [3.5, 11.5, 19.5]
    assert solver["fields"]["lr_policy"] == "step"


def test_weights_that_are_not_numbers_are_told(tmp_path, toy, deeplab):
    weights = {name: [blob.copy() for blob in blobs] for name, blobs in toy.weights.items()}
    weights["fc"][1][2] = np.nan
    write_weights(weights, toy.spec, tmp_path / "w.caffemodel", "v2")
    assert "NaN or infinite numbers in fc" in deeplab("inspect", tmp_path / "w.caffemodel").stdout


def test_a_net_equals_its_other_spelling(tmp_path, toy, deeplab):
    write_net(toy.spec, tmp_path / "v1.prototxt", "v1")
    result = deeplab("inspect", toy.prototxt, tmp_path / "v1.prototxt")
    assert result.exit_code == 0, result.output
    assert "hold the same net" in result.stdout


def test_two_files_of_a_kind_are_compared(tmp_path, toy, mean_file, solver_file, deeplab):
    (tmp_path / "b.prototxt").write_text(toy.prototxt.read_text().replace("stride: 2 pad: 1", "stride: 1 pad: 1"))
    (tmp_path / "other").write_text(SOLVER.replace("2000", "3000"))
    changed = {name: [blob.copy() for blob in stored] for name, stored in toy.weights.items()}
    changed["fc"][0][1, 2, 0, 1] += 0.25
    write_weights(changed, toy.spec, tmp_path / "b.caffemodel", "v2")
    for first, second, place in (
        (toy.prototxt, tmp_path / "b.prototxt", "pool1"),
        (toy.caffemodel, tmp_path / "b.caffemodel", "fc"),
        (solver_file, tmp_path / "other", "solver"),
    ):
        result = deeplab("inspect", first, second)
        assert result.exit_code == 1
        assert result.stdout.startswith(f"A {first}\nB {second}\n")
        result = deeplab("inspect", first, second, "--json", "-")
        assert result.exit_code == 1
        answer = json.loads(result.stdout)
        assert answer["equal"] is False
        assert answer["differences"][0]["place"] == place
        assert deeplab("inspect", first, first).exit_code == 0
    assert "1 difference\n" in deeplab("inspect", toy.caffemodel, tmp_path / "b.caffemodel").stdout
    assert deeplab("inspect", mean_file, mean_file).stdout == f"{mean_file} and {mean_file} hold the same mean\n"


def test_a_solver_state_is_summarised(tmp_path, deeplab):
    write_state(tmp_path / "a")
    result = deeplab("inspect", tmp_path / "a")
    for word in ("after 5 updates, step 2", "w_iter_5.caffemodel", "1 history blobs: 3"):
        assert word in result.stdout


def test_files_of_two_kinds_are_only_shown(toy, deeplab):
    result = deeplab("inspect", toy.prototxt, toy.caffemodel, "--json", "-")
    assert result.exit_code == 0
    assert "differences" not in json.loads(result.stdout)


def test_a_link_out_of_a_file_is_not_followed(tmp_path, refused):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = h5py.ExternalLink("elsewhere.h5", "/data")
    refused("links are not followed", "inspect", tmp_path / "a.h5")


def test_what_is_no_file_of_caffes(tmp_path, refused):
    (tmp_path / "empty").touch()
    (tmp_path / "words").write_text("hello")
    with h5py.File(tmp_path / "pairs.h5", "w") as file:
        file["data"], file["label"] = np.zeros(3), np.zeros(3)
    for name, word in (("empty", "is empty"), ("words", "no Caffe file"), ("pairs.h5", "holds data, label")):
        refused(word, "inspect", tmp_path / name)
    refused(tmp_path, "inspect", tmp_path)


def test_variables_without_a_value_may_stay_open(tmp_path, deeplab, refused):
    text = 'name: "${NET_ID}"\ninput: "data" input_shape { dim: 1 dim: 3 dim: 9 dim: 9 }\n'
    (tmp_path / "a.prototxt").write_text(text + conv("c", "data", kernel_size=1))
    result = deeplab("inspect", tmp_path / "a.prototxt")
    assert result.exit_code == 0, result.output
    assert "variable NET_ID, line 1: no value given" in result.stdout
    result = deeplab("inspect", tmp_path / "a.prototxt", "--var", "NET_ID=x", "--json", "-")
    (net,) = json.loads(result.stdout)["files"]
    assert net["variables"] == [{"name": "NET_ID", "lines": [1], "value": "x"}]
    assert net["name"] == "x"
    (tmp_path / "b.prototxt").write_text(text + conv("c", "data", kernel_size="${K}"))
    refused("no value for NET_ID, K", "inspect", tmp_path / "b.prototxt")


def test_the_verb_prints_tables_and_json(toy, deeplab, tmp_path):
    result = deeplab("inspect", toy.prototxt, toy.caffemodel)
    assert result.exit_code == 0, result.output
    told = "dialect v2 (Interp (layer 'fc_interp'))"
    for word in ("fc_interp", "Interp", "4 x 3 x 3 x 3", "297 parameters", told, "1 x 3 x 33 x 33", "memory: "):
        assert word in result.stdout
    result = deeplab("inspect", toy.prototxt, toy.caffemodel, "--json", "-")
    net, weights = json.loads(result.stdout)["files"]
    assert net["parameters"] == weights["parameters"] == 297
    assert net["layers"][0]["field"] == {"size": [3, 3], "stride": [1, 1], "offset": [0, 0]}


def test_a_checkpoint_is_inspected_like_a_net(toy, deeplab, tmp_path):
    assert deeplab("convert", toy.prototxt, toy.caffemodel, "-o", tmp_path / "a.safetensors").exit_code == 0
    result = deeplab("inspect", tmp_path / "a.safetensors", "--json", "-")
    assert json.loads(result.stdout)["files"][0]["parameters"] == 297


def test_what_inspect_refuses(refused, tmp_path):
    (tmp_path / "open.prototxt").write_text('layer { name: "a" ')
    (tmp_path / "a.txt").write_text("hello")
    (tmp_path / "bad.caffemodel").write_bytes(bytes(np.random.default_rng(0).integers(0, 256, 500, np.uint8)))
    for name in ("open.prototxt", "nothing.prototxt", "a.txt", "bad.caffemodel", "nothing.caffemodel"):
        refused(name, "inspect", tmp_path / name)
