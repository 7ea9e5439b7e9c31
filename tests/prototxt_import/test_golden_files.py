"""Files that Caffe wrote, and what it made of old ones: HDF5 models, means, upgrades, net states."""

from __future__ import annotations

import json

import numpy as np
import pytest

from prototxt_import import read_mean, read_net, read_solver, read_weights
from tests.paths import GOLDEN

UPGRADE, IO = GOLDEN / "upgrade", GOLDEN / "io"
OLD, NEW = ("old", "v0", "v1"), ("upgraded", "upgraded_v1", "upgraded_v2")


def pairs(suffix):
    for folder in sorted(UPGRADE.iterdir()):
        for old in OLD:
            for new in NEW:
                files = folder / f"{old}{suffix}", folder / f"{new}{suffix}"
                if all(file.exists() for file in files):
                    yield pytest.param(*files, id=f"{folder.name}-{old}-{new}")


@pytest.mark.parametrize(("old", "new"), [*pairs(".prototxt")])
def test_old_text_gives_the_layers_of_caffes_own_upgrade(old, new):
    assert read_net(old).layers == read_net(new).layers


@pytest.mark.parametrize(("old", "new"), [*pairs(".caffemodel")])
def test_old_models_hold_the_blobs_of_caffes_own_upgrade(old, new):
    before, after = read_weights(old), read_weights(new)
    assert before.keys() == after.keys()
    for name, blobs in after.items():
        assert all(np.array_equal(a.ravel(), b.ravel()) for a, b in zip(before[name], blobs, strict=True))


def test_net_states_keep_the_layers_that_caffe_keeps():
    folder = UPGRADE / "net_state_rules"
    for state in json.loads((folder / "states.json").read_text())["states"]:
        spec = read_net(
            folder / "net.prototxt", phase=state["phase"], level=state["level"], stages=tuple(state["stage"])
        )
        assert [layer.name for layer in spec.layers] == state["layers"]


def test_old_solver_type_is_the_new_one():
    folder = UPGRADE / "solver_type"
    assert read_solver(folder / "old_solver.prototxt") == read_solver(folder / "upgraded_solver.prototxt")


def test_hdf5_model_has_the_bits_of_the_binary_one():
    hdf5 = read_weights(IO / "bn_chain.caffemodel.h5")
    binary = read_weights(GOLDEN / "layers" / "v2" / "bn_inplace_chain" / "weights.caffemodel")
    assert hdf5.keys() == binary.keys()
    for name, blobs in binary.items():
        assert [blob.tobytes() for blob in hdf5[name]] == [blob.tobytes() for blob in blobs]


def test_blobs_that_hdf5_holds_under_their_owner_only_reach_every_sharer():
    folder = GOLDEN / "layers" / "v2" / "conv_shared_params"
    model = IO / "shared_params.caffemodel.h5"
    assert list(read_weights(model)) == ["ca"]
    hdf5 = read_net(folder / "net.prototxt", model)
    binary = read_net(folder / "net.prototxt", folder / "weights.caffemodel")
    assert hdf5.missing_weights == ()
    for name, blobs in binary.weights.items():
        assert [blob.tobytes() for blob in hdf5.weights[name]] == [blob.tobytes() for blob in blobs]


def test_mean_file_has_the_recorded_numbers():
    assert np.array_equal(read_mean(IO / "mean.binaryproto"), np.load(IO / "mean.npy")[None])
