from __future__ import annotations

import numpy as np
import pytest

from prototxt_import import CaffeFormatError, SolverState, read_solverstate, schema, write_solverstate

HISTORY = [np.arange(6, dtype=np.float32).reshape(2, 3), np.array([0.5], np.float32)]


def binary(path):
    state = schema.message("v2", "SolverState")(iter=20, learned_net="snap/net_iter_20.caffemodel", current_step=3)
    for blob in HISTORY:
        message = state.history.add(data=blob.reshape(-1))
        message.shape.dim.extend(blob.shape)
    path.write_bytes(state.SerializeToString())


def hdf5(path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file["iter"], file["current_step"] = np.array([20], "i4"), np.array([3], "i4")
        file["learned_net"] = np.bytes_("snap/net_iter_20.caffemodel")  # of fixed length, as H5LT writes it
        for index, blob in enumerate(HISTORY):
            file[f"history/{index}"] = blob


@pytest.mark.parametrize("write", [binary, hdf5])
def test_both_kinds_of_snapshot_read_alike(write, tmp_path):
    write(tmp_path / "s.solverstate")
    state = read_solverstate(tmp_path / "s.solverstate")
    assert (state.iter, state.current_step, state.learned_net) == (20, 3, "snap/net_iter_20.caffemodel")
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(state.history, HISTORY, strict=True))


def test_old_snapshots_have_legacy_dimensions(tmp_path):
    state = schema.message("v1", "SolverState")(iter=7)
    state.history.add(num=1, channels=1, height=1, width=3, data=[1, 2, 3])
    (tmp_path / "s").write_bytes(state.SerializeToString())
    read = read_solverstate(tmp_path / "s")
    assert (read.iter, read.current_step, read.history[0].shape) == (7, 0, (1, 1, 1, 3))


def test_other_files_are_refused(tmp_path, golden):
    with pytest.raises(CaffeFormatError, match="field 1 is none of a solver state; is it a model"):
        read_solverstate(golden / "v2_largefov" / "weights.caffemodel")
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["data/c/0"] = np.ones(2)
    with pytest.raises(CaffeFormatError, match="it is no solver state"):
        read_solverstate(tmp_path / "s.h5")
    binary(tmp_path / "cut")
    (tmp_path / "cut").write_bytes((tmp_path / "cut").read_bytes()[:-3])
    with pytest.raises(CaffeFormatError, match="truncated"):
        read_solverstate(tmp_path / "cut")


def test_recorded_snapshots_agree_with_the_trace(shared_caffe):
    folder = shared_caffe / "solver" / "sgd_poly"
    binary_state = read_solverstate(folder / "snap_iter_5.solverstate")
    hdf5_state = read_solverstate(folder / "snap_h5_iter_5.solverstate.h5")
    assert binary_state.iter == hdf5_state.iter == 5
    trace = np.load(folder / "trace.npz")
    for index, (ours, theirs) in enumerate(zip(binary_state.history, hdf5_state.history, strict=True)):
        assert np.array_equal(ours.reshape(-1), theirs.reshape(-1))
        assert np.array_equal(ours.reshape(-1), trace[f"hist5/{index}"].reshape(-1))
    adam = read_solverstate(shared_caffe / "solver" / "adam" / "snap_iter_5.solverstate")
    half = len(adam.history) // 2
    assert [blob.shape for blob in adam.history[:half]] == [blob.shape for blob in adam.history[half:]]


@pytest.mark.parametrize("dialect", ["v1", "v2"])
@pytest.mark.parametrize("name", ["s.solverstate", "s.solverstate.h5"])
def test_what_is_written_reads_back_with_the_same_bits(name, dialect, tmp_path):
    state = SolverState(20, "snap/net_iter_20.caffemodel", 3, tuple(HISTORY))
    write_solverstate(state, tmp_path / name, dialect)
    read = read_solverstate(tmp_path / name)
    assert read == state
    assert all(np.array_equal(a.reshape(b.shape), b) for a, b in zip(read.history, HISTORY, strict=True))


def test_written_state_parses_with_caffes_own_message(tmp_path):
    write_solverstate(SolverState(7, "a", 0, tuple(HISTORY)), tmp_path / "s", "v1")
    message = schema.message("v1", "SolverState")()
    message.ParseFromString((tmp_path / "s").read_bytes())
    assert (message.iter, message.learned_net) == (7, "a")
    first = message.history[0]
    assert [first.num, first.channels, first.height, first.width] == [1, 1, 2, 3]
    assert list(first.data) == HISTORY[0].reshape(-1).tolist()


def test_a_string_of_variable_length_is_refused_unread(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "s.solverstate.h5"
    with h5py.File(path, "w") as file:
        file["iter"], file["history/0"], file["learned_net"] = np.int32(1), np.ones(2, "f4"), "a.caffemodel"
    with pytest.raises(CaffeFormatError, match="learned_net is a string of variable length"):
        read_solverstate(path)
