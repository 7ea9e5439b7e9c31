"""`deeplab inspect` on files of every kind, and on two of a kind."""

import json

import h5py
import numpy as np
import pytest

from deeplab_repro.inspect import compare, file_kind, read_file
from prototxt_import import write_weights
from prototxt_import.binary.wire import encode_bytes, encode_key, encode_varint
from tests.paths import SHARED

SOLVER = """\
net: "a.prototxt" # layer { }
base_lr: 0.001
lr_policy: "step"
gamma: 0.1
stepsize: 2000
"""


def _message(*fields):
    return b"".join(b"".join(encode_bytes(number, payload)) for number, payload in fields)


def _write_state(path, iteration=5, value=1.0):
    blob = _message((5, np.full(3, value, np.float32).tobytes()))
    head = encode_key(1, 0) + encode_varint(iteration) + _message((2, b"w_iter_5.caffemodel"), (3, blob))
    path.write_bytes(head + encode_key(4, 0) + encode_varint(2))


@pytest.fixture
def mean_file(tmp_path):
    values = np.arange(24, dtype=np.float32).reshape(1, 3, 2, 4)
    dims = b"".join(encode_key(i, 0) + encode_varint(n) for i, n in enumerate(values.shape, 1))
    (tmp_path / "mean").write_bytes(dims + _message((5, values.tobytes())))
    return tmp_path / "mean"


@pytest.fixture
def solver_file(tmp_path):
    (tmp_path / "solver").write_text(SOLVER)
    return tmp_path / "solver"


def test_files_are_told_apart_by_their_contents(tmp_path, toy, mean_file, solver_file, deeplab):
    assert deeplab("convert", toy.prototxt, toy.caffemodel, "-o", tmp_path / "c.safetensors").exit_code == 0
    with h5py.File(tmp_path / "model", "w") as file:
        file["data/conv1/0"] = np.zeros(3, np.float32)
    with h5py.File(tmp_path / "state.h5", "w") as file:
        file["iter"], file["history/0"] = 5, np.zeros(3, np.float32)
    _write_state(tmp_path / "state")
    (tmp_path / "nested").write_text('base_lr: 1 net_param { layer { name: "a" } }')
    kinds = {
        toy.prototxt: "net",
        toy.caffemodel: "weights",
        tmp_path / "c.safetensors": "checkpoint",
        tmp_path / "model": "weights",
        tmp_path / "state.h5": "solverstate",
        tmp_path / "state": "solverstate",
        tmp_path / "nested": "solver",
        mean_file: "mean",
        solver_file: "solver",
    }
    assert {path: file_kind(path) for path in kinds} == kinds


def test_recorded_files_of_every_kind(tmp_path):

    root = SHARED / "golden" / "caffe"
    if not root.is_dir():
        pytest.skip("the recorded files lie beside the repository (../shared)")
    suffixes = {".caffemodel": "weights", ".solverstate": "solverstate", ".binaryproto": "mean"}
    seen = set()
    for path in sorted(root.glob("*/*/*")):
        name = path.name.removesuffix(".h5")
        kind = suffixes.get(f".{name.rpartition('.')[2]}")
        if name.endswith(".prototxt"):
            kind = "solver" if "solver" in name else "net"
        if kind:
            assert file_kind(path) == kind, path
            seen.add(kind)
    assert seen >= {"net", "solver", "weights", "solverstate"}


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


def _changes(a, b):
    return {(each.place, each.what): (each.first, each.second) for each in compare(read_file(a), read_file(b))}


def test_two_nets_are_compared_field_by_field(tmp_path, toy, deeplab):
    text = toy.prototxt.read_text()
    changed = text.replace("stride: 2 pad: 1", "stride: 1 pad: 1").replace("lr_mult: 2", "lr_mult: 3", 1)
    changed = changed.replace('"fc_interp"', '"up"')
    (tmp_path / "b.prototxt").write_text(changed)
    assert _changes(toy.prototxt, tmp_path / "b.prototxt") == {
        ("conv1", "param 1 lr_mult"): (2.0, 3.0),
        ("pool1", "stride"): ((2, 2), (1, 1)),
        ("pool1", "shape of pool1"): ((1, 4, 17, 17), (1, 4, 33, 33)),
        ("fc", "shape of fc"): ((1, 5, 17, 17), (1, 5, 33, 33)),
        ("fc_interp", "layer"): ("Interp", None),
        ("up", "layer"): (None, "Interp"),
        ("net", "outputs"): (("fc_interp",), ("up",)),
    }
    result = deeplab("inspect", toy.prototxt, tmp_path / "b.prototxt")
    assert result.exit_code == 1
    assert "7 differences" in result.stdout


def test_layers_in_another_order_are_told(tmp_path, toy):
    head = 'input: "data" input_shape { dim: 1 dim: 3 dim: 9 dim: 9 }\n'
    one, two = (f'layer {{ name: "{n}" type: "ReLU" bottom: "data" top: "{n}" }}\n' for n in "ab")
    (tmp_path / "a").write_text(head + one + two)
    (tmp_path / "b").write_text(head + two + one)
    assert _changes(tmp_path / "a", tmp_path / "b")["net", "order of layers from"] == ("a", "b")


def test_a_net_equals_its_other_spelling(tmp_path, toy, deeplab):
    from prototxt_import import write_net

    write_net(toy.spec, tmp_path / "v1.prototxt", "v1")
    result = deeplab("inspect", toy.prototxt, tmp_path / "v1.prototxt")
    assert result.exit_code == 0, result.output
    assert "hold the same net" in result.stdout


def test_two_models_are_compared_blob_by_blob(tmp_path, toy, deeplab):
    weights = {name: [blob.copy() for blob in blobs] for name, blobs in toy.weights.items()}
    write_weights(weights, toy.spec, tmp_path / "v1.caffemodel", "v1")  # a bias is (1, 1, 1, N) there
    assert deeplab("inspect", toy.caffemodel, tmp_path / "v1.caffemodel").exit_code == 0
    weights["fc"][0][1, 2, 0, 1] += 0.25
    write_weights(weights, toy.spec, tmp_path / "b.caffemodel", "v2")
    (change,) = compare(read_file(toy.caffemodel), read_file(tmp_path / "b.caffemodel"))
    assert (change.place, change.what) == ("fc", "blob 0")
    assert change.second - change.first == pytest.approx(0.25, rel=1e-5)
    assert change.max_abs == pytest.approx(0.25, rel=1e-5)
    result = deeplab("inspect", toy.caffemodel, tmp_path / "b.caffemodel", "--json", "-")
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert answer["equal"] is False
    assert [each["place"] for each in answer["differences"]] == ["fc"]


def test_models_with_other_layers_and_shapes(tmp_path):
    for name, layers in {
        "a": {"one": [(3,)], "two": [(2, 3), (2,)]},
        "b": {"two": [(3, 2)], "three": [(1,)]},
    }.items():
        with h5py.File(tmp_path / name, "w") as file:
            for layer, shapes in layers.items():
                for index, shape in enumerate(shapes):
                    file[f"data/{layer}/{index}"] = np.zeros(shape, np.float32)
    assert _changes(tmp_path / "a", tmp_path / "b") == {
        ("one", "layer"): ([(3,)], None),
        ("two", "number of blobs"): (2, 1),
        ("two", "shape of blob 0"): ((2, 3), (3, 2)),
        ("three", "layer"): (None, [(1,)]),
    }


def test_two_solvers_and_two_means(tmp_path, mean_file, solver_file, deeplab):
    (tmp_path / "other").write_text(SOLVER.replace("2000", "3000"))
    assert _changes(solver_file, tmp_path / "other") == {("solver", "stepsize"): (2000, 3000)}
    assert deeplab("inspect", solver_file, tmp_path / "other").exit_code == 1
    assert deeplab("inspect", mean_file, mean_file).exit_code == 0


def test_solver_states(tmp_path, deeplab):
    _write_state(tmp_path / "a")
    _write_state(tmp_path / "b", iteration=6, value=1.5)
    result = deeplab("inspect", tmp_path / "a")
    for word in ("after 5 updates, step 2", "w_iter_5.caffemodel", "1 history blobs: 3"):
        assert word in result.stdout
    assert _changes(tmp_path / "a", tmp_path / "b") == {
        ("solver state", "iter"): (5, 6),
        ("history", "blob 0"): (1.0, 1.5),
    }


def test_a_link_out_of_a_file_is_not_followed(tmp_path, refused):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = h5py.ExternalLink("elsewhere.h5", "/data")
    refused("links are not followed", "inspect", tmp_path / "a.h5")


def test_files_of_two_kinds_are_only_shown(toy, deeplab):
    result = deeplab("inspect", toy.prototxt, toy.caffemodel, "--json", "-")
    assert result.exit_code == 0
    assert "differences" not in json.loads(result.stdout)
    with pytest.raises(ValueError, match="is a net"):
        compare(read_file(toy.prototxt), read_file(toy.caffemodel))


def test_what_is_no_file_of_caffes(tmp_path, refused):
    (tmp_path / "empty").touch()
    (tmp_path / "words").write_text("hello")
    with h5py.File(tmp_path / "pairs.h5", "w") as file:
        file["data"], file["label"] = np.zeros(3), np.zeros(3)
    for name, word in (("empty", "is empty"), ("words", "no Caffe file"), ("pairs.h5", "holds data, label")):
        refused(word, "inspect", tmp_path / name)
    refused(tmp_path, "inspect", tmp_path)
