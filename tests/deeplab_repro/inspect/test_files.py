"""Files of every kind are told apart by what they hold."""

import h5py
import numpy as np
import pytest

from deeplab_repro.inspect import file_kind
from tests.deeplab_repro.inspect.caffe_files import write_state
from tests.paths import SHARED


def test_files_are_told_apart_by_their_contents(tmp_path, toy, mean_file, solver_file, deeplab):
    assert deeplab("convert", toy.prototxt, toy.caffemodel, "-o", tmp_path / "c.safetensors").exit_code == 0
    with h5py.File(tmp_path / "model", "w") as file:
        file["data/conv1/0"] = np.zeros(3, np.float32)
    with h5py.File(tmp_path / "state.h5", "w") as file:
        file["iter"], file["history/0"] = 5, np.zeros(3, np.float32)
    write_state(tmp_path / "state")
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
