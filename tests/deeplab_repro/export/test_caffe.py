"""Nets written back to Caffe's files keep their layers and the bits of their blobs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from deeplab_repro import CaffeNet, export_net, load_caffe, load_checkpoint, save_checkpoint
from prototxt_import import (
    CaffeFormatError,
    layer,
    make_net,
    parse_net,
    read_net,
    read_weights,
    write_weights,
)
from tests.paths import GOLDEN, SHARED

MODELS = SHARED / "caffemodels"
NETS = sorted(path.parent for path in GOLDEN.glob("*/**/weights.caffemodel"))
REAL = json.loads((MODELS / "manifest.json").read_text()) if MODELS.is_dir() else []
# Private layer types, which test_own_layers.py registers.
REAL = [model for model in REAL if "waifu2x" not in model["name"]]


def bits(weights):
    return {name: [np.asarray(blob, "<f4").tobytes() for blob in blobs] for name, blobs in weights.items() if blobs}


def check_round_trip(net: CaffeNet, folder: Path, dialect: str | None, hdf5: bool) -> None:
    files = export_net(net, folder, dialect, hdf5)
    assert sorted(file.name for file in folder.iterdir()) == sorted([files.prototxt.name, files.weights.name])
    again = read_net(files.prototxt, files.weights, net.spec.phase, dialect=files.dialect)
    assert again.missing_weights == again.unused_weights == ()
    if files.dialect == net.spec.dialect:
        assert again == net.spec
    assert bits(again.weights) == {
        name: [blob.detach().numpy().tobytes() for blob in blobs] for name, blobs in net.params.items() if blobs
    }


@pytest.mark.parametrize("hdf5", [False, True], ids=["binary", "hdf5"])
@pytest.mark.parametrize("folder", NETS, ids=lambda path: "-".join(path.parts[-2:]))
def test_golden_nets_keep_every_bit(folder, hdf5, tmp_path):
    phase = "TRAIN" if "train" in folder.name else "TEST"
    net = load_caffe(folder / "net.prototxt", folder / "weights.caffemodel", phase)
    check_round_trip(net, tmp_path / "out", None, hdf5)


@pytest.mark.parametrize("dialect", ["v1", "v2", "x2", "bvlc"])
def test_a_net_goes_out_in_every_dialect_that_has_its_layers(dialect, tmp_path):
    folder = GOLDEN / "nets" / "v1_msc_largefov_released"
    net = load_caffe(folder / "net.prototxt", folder / "weights.caffemodel")
    if dialect == "bvlc":
        with pytest.raises(CaffeFormatError, match=r"layer '.*' \(Interp\): the bvlc dialect has no such layer"):
            export_net(net, tmp_path / "out", dialect)
        assert not (tmp_path / "out").exists()
    else:
        check_round_trip(net, tmp_path / "out", dialect, False)


@pytest.mark.skipif(not REAL, reason="needs ../shared/caffemodels")
@pytest.mark.parametrize("hdf5", [False, True], ids=["binary", "hdf5"])
@pytest.mark.parametrize("model", REAL, ids=lambda model: model["name"])
def test_real_models_keep_every_bit(model, hdf5, tmp_path):
    check_round_trip(load_caffe(MODELS / model["prototxt"]["file"], MODELS / model["file"]), tmp_path, None, hdf5)


@pytest.mark.skipif(not REAL, reason="needs ../shared/caffemodels")
@pytest.mark.parametrize("name", ["again.caffemodel", "again.caffemodel.h5"])
@pytest.mark.parametrize("model", REAL, ids=lambda model: model["name"])
def test_real_models_without_a_net_keep_every_blob_of_every_layer(model, name, tmp_path):
    stored = read_weights(MODELS / model["file"])
    write_weights(stored, None, tmp_path / name)
    again = read_weights(tmp_path / name)
    assert bits(again) == bits(stored)
    assert {key: [blob.shape for blob in blobs] for key, blobs in again.items()} == {
        key: [blob.shape for blob in blobs] for key, blobs in stored.items()
    }


@pytest.mark.parametrize("hdf5", [False, True])
def test_trained_parameters_go_out_as_they_are_and_shared_ones_once_in_hdf5(hdf5, tmp_path):
    folder = GOLDEN / "layers" / "v2" / "conv_shared_params"
    net = load_caffe(folder / "net.prototxt", folder / "weights.caffemodel")
    with torch.no_grad():
        net.params["cb"][0].fill_(2.5)
    files = export_net(net, tmp_path, hdf5=hdf5)
    assert list(read_weights(files.weights)) == (["ca"] if hdf5 else ["ca", "cb"])
    again = load_caffe(files.prototxt, files.weights)
    assert again.spec.missing_weights == ()
    assert again.params["cb"][0] is again.params["ca"][0]
    assert bool((again.params["ca"][0] == 2.5).all())


def test_a_partly_shared_layer_keeps_its_own_blob_in_hdf5(tmp_path):
    from prototxt_import import ParamSpec

    def inner(name, bottom):
        return layer("InnerProduct", name, bottom, name, num_output=3, params=[ParamSpec("w")])

    spec = make_net("n", {"x": (1, 3)}, [inner("a", "x"), inner("b", "a")])
    weight = np.eye(3, dtype=np.float32)
    stored = {"a": [weight, np.zeros(3)], "b": [weight, np.ones(3)]}
    write_weights(stored, spec, tmp_path / "m.caffemodel.h5")
    net = CaffeNet(read_net_of(spec, tmp_path / "m.caffemodel.h5"))
    assert net.params["b"][1].tolist() == [1, 1, 1]
    assert net.params["b"][0].tolist() == weight.tolist()


def read_net_of(spec, weights):
    from prototxt_import.binary.weights import attach

    return attach(spec, weights)


@pytest.mark.parametrize("name", ["/conv", "a//b", ".", "a/../b"])
def test_names_that_hdf5_cannot_hold_are_refused(name, tmp_path):
    with pytest.raises(CaffeFormatError, match="HDF5 cannot hold; write a binary model"):
        write_weights({name: [np.ones(1)]}, None, tmp_path / "m.caffemodel.h5")
    assert list(tmp_path.iterdir()) == []


def test_slashes_in_names_are_levels_in_hdf5(tmp_path):
    stored = {"a": [np.ones(1, "f4")], "a/b": [np.zeros(2, "f4")], "c/d/e": [np.ones(3, "f4")]}
    write_weights(stored, None, tmp_path / "m.caffemodel.h5")
    assert bits(read_weights(tmp_path / "m.caffemodel.h5")) == bits(stored)


_NOBODYS = """input: "data" input_shape { dim: 1 dim: 3 dim: 9 dim: 9 }
layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 2 kernel_size: 1 } }
layer { name: "k" type: "Clip" bottom: "c" top: "k" clip_param { min: -0.1 max: 0.2 } }
layer { name: "i" type: "Interp" bottom: "k" top: "i" interp_param { height: 17 width: 17 } }
"""


def test_a_net_that_no_fork_holds_is_written_all_the_same(tmp_path):
    net = CaffeNet(parse_net(_NOBODYS))
    x = torch.randn(1, 3, 9, 9)
    for hdf5 in (False, True):
        files = export_net(net, tmp_path / str(hdf5), hdf5=hdf5)
        assert files.dialect == "text"
        assert torch.equal(load_caffe(files.prototxt, files.weights)(data=x)["i"], net(data=x)["i"])
    save_checkpoint(net, tmp_path / "n.safetensors")
    assert torch.equal(load_checkpoint(tmp_path / "n.safetensors")(data=x)["i"], net(data=x)["i"])


def test_a_layer_that_the_nets_dialect_lacks_takes_the_nearest(tmp_path):
    net = CaffeNet(parse_net(_NOBODYS.rsplit("layer", 1)[0], dialect="v2"))
    assert export_net(net, tmp_path).dialect == "bvlc"
