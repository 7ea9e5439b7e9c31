"""Weights of PyTorch ports, as state dicts made up under the names of their repositories."""

from __future__ import annotations

import pytest
import torch

from deeplab_repro import zoo
from deeplab_repro.zoo import models
from deeplab_repro.zoo.ports import attach_weights, ports, read_port
from prototxt_import import CaffeFormatError

SMALL = {"width": 1 / 32, "depths": (3, 4, 5, 3)}
VGG_FEATURES = {
    "conv1_1": 0, "conv1_2": 2, "conv2_1": 5, "conv2_2": 7, "conv3_1": 10, "conv3_2": 12, "conv3_3": 14,
    "conv4_1": 17, "conv4_2": 19, "conv4_3": 21, "conv5_1": 24, "conv5_2": 26, "conv5_3": 28,
}  # fmt: skip


def batch_norm(net, suffix):
    """Statistics, scale and shift of a BatchNorm and Scale pair, as torch's BatchNorm2d names them."""
    (mean, variance, factor), (scale, shift) = net.params[f"bn{suffix}"], net.params[f"scale{suffix}"]
    return {
        "weight": scale,
        "bias": shift,
        "running_mean": mean / factor,
        "running_var": variance / factor,
        "num_batches_tracked": torch.tensor(0),
    }


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(0)
    net = models.build("deeplab_resnet101_aspp_msc", **SMALL)
    with torch.no_grad():
        for layer in net.spec.layers:
            for blob in net.params[layer.name]:
                blob.normal_()
            if layer.type == "BatchNorm":
                net.params[layer.name][1].abs_().add_(0.5)
                net.params[layer.name][2].fill_(1)
    return net


def kazuto(net):
    """base.layer2.block1.reduce.conv.weight and so on."""
    state = {"layer1.conv1.conv.weight": net.params["conv1"][0]}
    state |= {f"layer1.conv1.bn.{key}": value for key, value in batch_norm(net, "_conv1").items()}
    parts = {"1": "shortcut", "2a": "reduce", "2b": "conv3x3", "2c": "increase"}
    for stage, depth in zip((2, 3, 4, 5), SMALL["depths"], strict=True):
        for i in range(depth):
            letter = "abc"[i] if stage in (2, 5) else f"b{i}" if i else "a"
            for branch, part in parts.items():
                if branch == "1" and i:
                    continue
                name, path = f"{stage}{letter}_branch{branch}", f"layer{stage}.block{i + 1}.{part}"
                state[f"{path}.conv.weight"] = net.params[f"res{name}"][0]
                state |= {f"{path}.bn.{key}": value for key, value in batch_norm(net, name).items()}
    for i in range(4):
        for key, value in zip(("weight", "bias"), net.params[f"fc1_voc12_c{i}"], strict=True):
            state[f"aspp.c{i}.{key}"] = value
    return {f"base.{key}": value.detach().clone() for key, value in state.items()}


def isht7(net):
    """Scale.layer1.0.downsample.1.running_mean and so on."""
    state = {"conv1.weight": net.params["conv1"][0]}
    state |= {f"bn1.{key}": value for key, value in batch_norm(net, "_conv1").items()}
    for stage, depth in zip((2, 3, 4, 5), SMALL["depths"], strict=True):
        for i in range(depth):
            letter = "abc"[i] if stage in (2, 5) else f"b{i}" if i else "a"
            for number, mark in ((1, "2a"), (2, "2b"), (3, "2c")):
                name, path = f"{stage}{letter}_branch{mark}", f"layer{stage - 1}.{i}"
                state[f"{path}.conv{number}.weight"] = net.params[f"res{name}"][0]
                state |= {f"{path}.bn{number}.{key}": value for key, value in batch_norm(net, name).items()}
        name = f"{stage}a_branch1"
        state[f"layer{stage - 1}.0.downsample.0.weight"] = net.params[f"res{name}"][0]
        state |= {f"layer{stage - 1}.0.downsample.1.{key}": value for key, value in batch_norm(net, name).items()}
    for i in range(4):
        for key, value in zip(("weight", "bias"), net.params[f"fc1_voc12_c{i}"], strict=True):
            state[f"layer5.conv2d_list.{i}.{key}"] = value
    return {f"Scale.{key}": value.detach().clone() for key, value in state.items()}


@pytest.mark.parametrize("names", [kazuto, isht7])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_ported_resnet_gives_the_same_net_back(names, prefix, resnet, tmp_path):
    state = {f"{prefix}{key}": value for key, value in names(resnet).items()}
    # The ports' own files are of the time before torch's archives.
    torch.save(state, tmp_path / "port.pth", _use_new_zipfile_serialization=not prefix)
    net = models.deeplab_resnet101(tmp_path / "port.pth", **SMALL)
    assert net.spec.missing_weights == ()
    for name, blobs in resnet.params.items():
        for ours, theirs in zip(net.params[name], blobs, strict=True):
            assert torch.equal(ours, theirs), name
    assert net.params["conv1_res05"][0] is net.params["conv1"][0]


def test_a_single_scale_net_takes_the_same_file_without_its_prefix(resnet, tmp_path):
    state = {key.removeprefix("base."): value for key, value in kazuto(resnet).items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "port.pth")
    net = models.deeplab_resnet101_aspp(tmp_path / "port.pth", **SMALL)
    assert torch.equal(net.params["res5c_branch2c"][0], resnet.params["res5c_branch2c"][0])


def largefov(names):
    """A narrow LargeFOV, and its blobs under a port's names."""
    torch.manual_seed(1)
    net = models.build("deeplab_largefov", width=1 / 32)
    state = {}
    for name, blobs in net.params.items():
        for key, value in zip(("weight", "bias"), blobs, strict=False):
            state[f"{names(name)}.{key}"] = value.detach().clone()
    return net, state


@pytest.mark.parametrize(
    "tail",
    [
        {"fc6": "features.32", "fc7": "features.35", "fc8_voc12": "features.38"},
        {"fc6": "classifier.1", "fc7": "classifier.3", "fc8_voc12": "classifier.6"},
        None,
    ],
    ids=["one-sequential", "features-and-classifier", "caffe-names"],
)
def test_ported_largefov_gives_the_same_net_back(tail, tmp_path):
    def names(layer):
        return layer if tail is None else tail.get(layer) or f"features.{VGG_FEATURES[layer]}"

    net, state = largefov(names)
    torch.save(state, tmp_path / "port.pth")
    again = models.deeplab_largefov(tmp_path / "port.pth", width=1 / 32)
    for name, blobs in net.params.items():
        assert all(map(torch.equal, again.params[name], blobs))


def test_score_layers_of_other_names_take_a_ports_classifier(tmp_path):
    _, state = largefov(lambda layer: {"fc6": "classifier.1", "fc7": "classifier.3", "fc8_voc12": "classifier.6"}.get(
        layer) or f"features.{VGG_FEATURES[layer]}")  # fmt: skip
    torch.save(state, tmp_path / "port.pth")
    net = models.deeplab_largefov(tmp_path / "port.pth", num_classes=21, dataset="mine", width=1 / 32)
    assert torch.equal(net.params["fc8_mine"][0], state["classifier.6.weight"])


def test_what_does_not_match_is_told_in_one_line(resnet, tmp_path):
    state = kazuto(resnet)
    state["base.extra.weight"] = torch.zeros(2)
    state["base.aspp.c1.bias"] = torch.zeros(7)
    del state["base.layer3.block2.conv3x3.bn.weight"], state["base.layer3.block2.conv3x3.bn.bias"]
    torch.save(state, tmp_path / "port.pth")
    with pytest.raises(CaffeFormatError) as raised:
        read_port(zoo.spec("deeplab_resnet101_aspp", **SMALL), tmp_path / "port.pth")
    message = str(raised.value)
    assert "\n" not in message
    assert "named as in kazuto1011/deeplab-pytorch do not fit DeepLab-ResNet-101-ASPP" in message
    assert "1 no such tensor in the table (base.extra.weight)" in message
    assert "2 missing (scale3b1_branch2b/0, scale3b1_branch2b/1)" in message
    assert "1 of another shape (base.aspp.c1.bias [7] for fc1_voc12_c1 [21])" in message


def test_a_net_that_lacks_layers_of_the_file_says_which(resnet, tmp_path):
    torch.save(kazuto(resnet), tmp_path / "port.pth")
    shallow = zoo.spec("deeplab_resnet101_aspp", width=1 / 32, depths=(3, 4, 4, 3))
    with pytest.raises(CaffeFormatError, match=r"15 no such layer in the net \(base.layer4.block5.reduce.conv.weight"):
        attach_weights(shallow, tmp_path / "port.pth")


class Anything:
    pass


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"encoder.0.weight": torch.zeros(1)}, r"no table knows its names \(encoder.0.weight\); known are kazuto1011"),
        ({"epoch": 3}, "holds no tensors by name"),
        ([torch.zeros(1)], "holds no tensors by name"),
        ({"weight": Anything()}, "not a file of plain tensors, or cut short"),
        (b"PK\x03\x04 not a zip", "not a file of plain tensors, or cut short"),
        (b"", "not a file of plain tensors, or cut short"),
    ],
)
def test_files_that_hold_no_such_weights(content, message, tmp_path):
    path = tmp_path / "port.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(CaffeFormatError, match=f"port.pth: {message}"):
        read_port(zoo.spec("deeplab_largefov", width=1 / 32), path)


def test_a_missing_file_is_an_oserror(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_port(zoo.spec("deeplab_largefov", width=1 / 32), tmp_path / "absent.pth")


def test_every_table_says_where_its_names_come_from():
    assert all("github.com/" in port.source for port in ports())
    assert {port.backbone for port in ports()} == {"vgg16", "resnet101"}


def test_a_nets_own_state_dict_is_read_back(tmp_path):
    """What `deeplab convert -o NET.pth` and torch.save write."""
    net = models.build("deeplab_largefov", width=1 / 32)
    torch.save(net.state_dict(), tmp_path / "own.pth")
    again = attach_weights(net.spec, tmp_path / "own.pth")
    assert again.missing_weights == ()
    for name, blobs in net.params.items():
        assert all(
            torch.equal(torch.from_numpy(stored.copy()), blob)
            for stored, blob in zip(again.weights.get(name, ()), blobs, strict=True)
        )
