from __future__ import annotations

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from deeplab_repro import CaffeNet, load_caffe, load_checkpoint, save_checkpoint
from deeplab_repro.export.caffe import export_net
from deeplab_repro.net.checkpoint import read_checkpoint
from prototxt_import import CaffeFormatError, parse_net, read_net, read_weights
from prototxt_import.binary.weights import with_weights
from tests.paths import GOLDEN

NETS = GOLDEN / "nets"


def golden(name: str, phase: str = "TEST") -> CaffeNet:
    return load_caffe(NETS / name / "net.prototxt", NETS / name / "weights.caffemodel", phase)


@pytest.mark.parametrize(
    ("name", "phase"), [("v1_largefov_oldformat", "TEST"), ("v2_aspp_l", "TEST"), ("v2_res_msc_train", "TRAIN")]
)
def test_a_net_comes_back_equal(tmp_path, name, phase):
    net, file = golden(name, phase), tmp_path / "net.safetensors"
    save_checkpoint(net, file, {"mean_bgr": [1, 2, 3]})
    again = load_caffe(file)
    assert again.spec.layers == net.spec.layers
    assert (again.spec.phase, again.spec.dialect) == (net.spec.phase, net.spec.dialect)
    for layer, blobs in net.params.items():
        assert all(torch.equal(a, b) for a, b in zip(blobs, again.params[layer], strict=True))
    assert read_checkpoint(file)[1] == {"mean_bgr": [1, 2, 3]}
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]


def test_keys_are_layer_and_index_and_shared_blobs_are_stored_once(tmp_path):
    net, file = golden("v2_res_msc_train", "TRAIN"), tmp_path / "net.safetensors"
    save_checkpoint(net, file)
    with safe_open(file, "pt") as content:
        keys = set(content.keys())
        assert set(content.metadata()) == {"prototxt", "phase", "dialect", "preprocessing"}
    assert "conv1/0" in keys
    assert len(keys) == len(list(net.parameters()))


def test_a_spec_with_weights_is_saved_too(tmp_path):
    folder = NETS / "v2_largefov"
    spec = read_net(folder / "net.prototxt", folder / "weights.caffemodel")
    save_checkpoint(spec, tmp_path / "a.safetensors")
    save_checkpoint(CaffeNet(spec), tmp_path / "b.safetensors")
    first, second = (load_checkpoint(tmp_path / name) for name in ("a.safetensors", "b.safetensors"))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_foreign_and_cut_files_are_refused(tmp_path):
    foreign = tmp_path / "foreign.safetensors"
    save_file({"x": torch.zeros(2)}, foreign)
    with pytest.raises(CaffeFormatError, match="not a checkpoint of this package: its metadata lacks prototxt"):
        load_checkpoint(foreign)
    whole = tmp_path / "whole.safetensors"
    save_checkpoint(golden("v2_largefov"), whole)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(whole.read_bytes()[:5000])
    for bad in (load_checkpoint, read_checkpoint):
        with pytest.raises(CaffeFormatError, match="not a safetensors file, or cut short"):
            bad(cut)


def test_tensors_that_do_not_belong_to_the_net_are_refused(tmp_path):
    whole = tmp_path / "whole.safetensors"
    save_checkpoint(golden("v2_largefov"), whole)
    with safe_open(whole, "pt") as content:
        metadata = content.metadata()
        tensors = {key: content.get_tensor(key) for key in content.keys()}  # noqa: SIM118 - no mapping
    turned = tensors | {"fc7/0": torch.zeros(1, 2, 3)}
    save_file(turned, tmp_path / "shape.safetensors", metadata)
    with pytest.raises(CaffeFormatError, match=r"fc7/0 has shape \[1, 2, 3\]"):
        load_checkpoint(tmp_path / "shape.safetensors")
    tensors.pop("fc7/0")
    save_file(tensors, tmp_path / "fewer.safetensors", metadata)
    with pytest.raises(CaffeFormatError, match="check fc7/0"):
        load_checkpoint(tmp_path / "fewer.safetensors")


def test_nothing_is_left_behind_where_nothing_can_be_written(tmp_path):
    with pytest.raises(OSError, match="does not exist"):
        save_checkpoint(golden("v2_largefov"), tmp_path / "no" / "net.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("text", "message"), [("{", "its preprocessing is no JSON"), ("[1]", "is no JSON object")])
def test_a_record_that_is_none_is_refused_and_the_net_still_loads(tmp_path, text, message):
    whole, odd = tmp_path / "whole.safetensors", tmp_path / "odd.safetensors"
    save_checkpoint(golden("v2_largefov"), whole)
    with safe_open(whole, "pt") as content:
        tensors = {key: content.get_tensor(key) for key in content.keys()}  # noqa: SIM118 - no mapping
        save_file(tensors, odd, content.metadata() | {"preprocessing": text})
    with pytest.raises(CaffeFormatError, match=message):
        read_checkpoint(odd)
    assert load_checkpoint(odd).inputs


def test_a_net_whose_data_alone_tell_its_shapes_takes_those_of_its_weights(tmp_path):
    # mnist's, as its train_val file has it: how large the images are stands in the database.
    text = """
layer { name: "mnist" type: "Data" top: "data" top: "label" data_param { source: "db" batch_size: 4 backend: LMDB } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        convolution_param { num_output: 2 kernel_size: 5 weight_filler { type: "xavier" } } }
layer { name: "ip1" type: "InnerProduct" bottom: "conv1" top: "ip1" inner_product_param { num_output: 3 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip1" bottom: "label" top: "loss" }
"""
    fed = CaffeNet(parse_net(text).with_inputs({"data": (4, 1, 8, 8), "label": (4,)}))
    weights = export_net(fed, tmp_path).weights
    spec = with_weights(parse_net(text), read_weights(weights), "w.caffemodel")
    assert spec.param_shapes == {"conv1": ((2, 1, 5, 5), (2,)), "ip1": ((3, 32), (3,))}
    save_checkpoint(CaffeNet(spec), tmp_path / "net.safetensors")
    again = load_checkpoint(tmp_path / "net.safetensors")
    data, label = torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 2, 0])
    assert torch.equal(again(data=data, label=label)["loss"], fed(data=data, label=label)["loss"])
    with pytest.raises(ValueError, match="the net has"):
        again(data=torch.rand(4, 3, 8, 8), label=label)
