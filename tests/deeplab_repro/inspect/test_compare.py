"""Two files of a kind, compared."""

import h5py
import numpy as np
import pytest

from deeplab_repro.inspect import compare, read_file
from prototxt_import import write_weights
from tests.deeplab_repro.inspect.caffe_files import SOLVER, write_state


def _changes(a, b):
    return {
        (change.place, change.what): (change.first, change.second) for change in compare(read_file(a), read_file(b))
    }


def test_two_nets_are_compared_field_by_field(tmp_path, toy):
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


def test_layers_in_another_order_are_told(tmp_path, toy):
    head = 'input: "data" input_shape { dim: 1 dim: 3 dim: 9 dim: 9 }\n'
    first, second = (f'layer {{ name: "{n}" type: "ReLU" bottom: "data" top: "{n}" }}\n' for n in "ab")
    (tmp_path / "a").write_text(head + first + second)
    (tmp_path / "b").write_text(head + second + first)
    assert _changes(tmp_path / "a", tmp_path / "b")["net", "order of layers from"] == ("a", "b")


def test_two_models_are_compared_blob_by_blob(tmp_path, toy):
    weights = {name: [blob.copy() for blob in blobs] for name, blobs in toy.weights.items()}
    write_weights(weights, toy.spec, tmp_path / "v1.caffemodel", "v1")  # a bias is (1, 1, 1, N) there
    assert compare(read_file(toy.caffemodel), read_file(tmp_path / "v1.caffemodel")) == []
    weights["fc"][0][1, 2, 0, 1] += 0.25
    write_weights(weights, toy.spec, tmp_path / "b.caffemodel", "v2")
    (change,) = compare(read_file(toy.caffemodel), read_file(tmp_path / "b.caffemodel"))
    assert (change.place, change.what) == ("fc", "blob 0")
    assert change.second - change.first == pytest.approx(0.25, rel=1e-5)
    assert change.max_abs == pytest.approx(0.25, rel=1e-5)


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


def test_two_solvers_and_two_means(tmp_path, mean_file, solver_file):
    (tmp_path / "other").write_text(SOLVER.replace("2000", "3000"))
    assert _changes(solver_file, tmp_path / "other") == {("solver", "stepsize"): (2000, 3000)}
    assert _changes(mean_file, mean_file) == {}


def test_two_solver_states(tmp_path):
    write_state(tmp_path / "a")
    write_state(tmp_path / "b", iteration=6, value=1.5)
    assert _changes(tmp_path / "a", tmp_path / "b") == {
        ("solver state", "iter"): (5, 6),
        ("history", "blob 0"): (1.0, 1.5),
    }


def test_files_of_two_kinds_are_refused(toy):
    with pytest.raises(ValueError, match="is a net"):
        compare(read_file(toy.prototxt), read_file(toy.caffemodel))
