"""`deeplab convert`: what it maps, says, writes and refuses."""

import json
import os
import stat
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from deeplab_repro import zoo
from deeplab_repro.net.checkpoint import read_checkpoint
from prototxt_import import read_weights


def test_convert_tells_what_did_not_map(tmp_path, toy, deeplab, refused):
    from prototxt_import import write_weights

    write_weights({"fc": toy.weights["fc"]}, toy.spec, tmp_path / "part.caffemodel", "v2")
    (tmp_path / "cut.prototxt").write_text(toy.prototxt.read_text().split('layer { name: "fc"')[0])
    target = tmp_path / "o.safetensors"
    refused("conv1", "convert", toy.prototxt, tmp_path / "part.caffemodel", "-o", target)
    assert not target.exists()
    arguments = ("convert", toy.prototxt, tmp_path / "part.caffemodel", "--allow-missing", "-o", target, "--json", "-")
    answer = json.loads(deeplab(*arguments).stdout)
    assert answer["missing"] == ["conv1"]
    assert [layer["from"] for layer in answer["layers"]] == ["filler", "weights"]
    answer = json.loads(deeplab("convert", tmp_path / "cut.prototxt", toy.caffemodel, *arguments[3:]).stdout)
    assert answer["unused"] == ["fc"]


def test_a_checkpoint_is_named_after_the_weights(tmp_path, toy, deeplab, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert deeplab("convert", toy.prototxt, toy.caffemodel).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["toy.safetensors"]


def test_variables_and_phase(tmp_path, deeplab):
    from prototxt_import import read_net, write_weights

    text = (
        'input: "data" input_shape { dim: 1 dim: 3 dim: 9 dim: 9 }\n'
        'layer { name: "c_${NET_ID}" type: "Convolution" bottom: "data" top: "c"\n'
        "  convolution_param { num_output: ${LABELS} kernel_size: 1 } }\n"
        'layer { name: "d" type: "Dropout" bottom: "c" top: "d" include { phase: TRAIN } }\n'
    )
    (tmp_path / "n.prototxt").write_text(text)
    spec = read_net(tmp_path / "n.prototxt", variables={"NET_ID": "x", "LABELS": "7"})
    blobs = [np.ones(shape, np.float32) for shape in spec.param_shapes["c_x"]]
    write_weights({"c_x": blobs}, spec, tmp_path / "w.caffemodel", "v2")
    convert = ("convert", tmp_path / "n.prototxt", tmp_path / "w.caffemodel", "-o", tmp_path / "o.safetensors")
    result = deeplab(*convert, "--var", "NET_ID=x", "--var", "LABELS=7", "--phase", "train", "--json", "-")
    answer = json.loads(result.stdout)
    assert answer["layers"][0]["blobs"] == [[7, 3, 1, 1], [7]]
    assert answer["without_weights"] == ["d"]


@pytest.mark.parametrize(
    ("name", "words"), [("w.onnx", "deeplab export --onnx"), ("w.prototxt", "deeplab export"), ("w", ".safetensors")]
)
def test_convert_writes_what_its_name_says_or_says_why_not(toy, tmp_path, refused, name, words):
    refused(words, "convert", toy.prototxt, toy.caffemodel, "-o", tmp_path / name)
    assert not (tmp_path / name).exists()


def test_the_table_says_what_was_mapped(tmp_path, toy, deeplab):
    target = tmp_path / "toy.safetensors"
    result = deeplab("convert", toy.prototxt, toy.caffemodel, "-o", target)
    assert result.exit_code == 0, result.output
    for line in (
        "without weights: 1 ReLU, 1 Pooling, 1 Interp",
        f"not used of {toy.caffemodel}: none",
        f"{target}: 2 layers with 297 parameters, TEST, dialect v2 (Interp (layer 'fc_interp'))",
    ):
        assert line in result.stdout.splitlines()
    net, preprocessing = read_checkpoint(target)
    assert preprocessing["scale"] == 1
    for name, stored in toy.weights.items():
        for blob, array in zip(net.params[name], stored, strict=True):
            np.testing.assert_array_equal(blob.detach().numpy(), array)


def test_nothing_is_written_where_the_command_line_is_unfit(tmp_path, toy, refused):
    target = tmp_path / "o.safetensors"
    convert = ("convert", toy.prototxt, toy.caffemodel)
    refused("--phase VAL: must be TRAIN or TEST", *convert, "-o", target, "--phase", "VAL")
    refused("--var K: must be NAME=VALUE", *convert, "-o", target, "--var", "K")
    refused("dialect", *convert, "-o", target, "--dialect", "v9")
    refused("/proc/nope", *convert, "-o", target, "--json", "/proc/nope/a.json")
    refused("nowhere", *convert, "-o", tmp_path / "nowhere" / "o.safetensors")
    (tmp_path / "d.safetensors").mkdir()
    refused("d.safetensors", *convert, "-o", tmp_path / "d.safetensors")
    assert not target.exists()


def test_every_format_is_written_by_its_name_with_the_umasks_mode(tmp_path, toy, deeplab):
    before = os.umask(0o027)
    try:
        for name in ("o.safetensors", "o.pth", "o.pt", "o.caffemodel", "o.h5", "o.npz"):
            result = deeplab("convert", toy.prototxt, toy.caffemodel, "-o", tmp_path / name)
            assert result.exit_code == 0, result.output
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o640
    finally:
        os.umask(before)
    assert "state_dict" in deeplab("convert", toy.prototxt, toy.caffemodel, "-o", tmp_path / "o.pth").stdout
    for name in ("o.caffemodel", "o.h5"):
        np.testing.assert_array_equal(read_weights(tmp_path / name)["fc"][0], toy.weights["fc"][0])


def test_checkpoints_lone_models_and_files_the_other_way_round_are_read(tmp_path, toy, deeplab, refused):
    checkpoint = tmp_path / "o.safetensors"
    assert deeplab("convert", toy.caffemodel, toy.prototxt, "-o", checkpoint).exit_code == 0
    assert deeplab("convert", checkpoint, "-o", tmp_path / "again.caffemodel").exit_code == 0
    result = deeplab("convert", toy.caffemodel, "-o", tmp_path / "lone.npz")
    assert result.stdout == f"{tmp_path / 'lone.npz'}: 2 layers with 297 parameters; 4 arrays\n"
    assert deeplab("convert", tmp_path / "again.caffemodel", "-o", tmp_path / "lone.h5").exit_code == 0
    np.testing.assert_array_equal(read_weights(tmp_path / "lone.h5")["fc"][0], toy.weights["fc"][0])
    refused("needs the net; name its prototxt", "convert", toy.caffemodel, "-o", tmp_path / "a.safetensors")
    refused("its weights are missing", "convert", toy.prototxt, "-o", tmp_path / "a.safetensors")
    refused("has its own weights", "convert", checkpoint, toy.caffemodel, "-o", tmp_path / "a.safetensors")
    (tmp_path / "solver.prototxt").write_text("base_lr: 0.5")
    refused("is a solver, no net", "convert", tmp_path / "solver.prototxt", toy.caffemodel, "-o", tmp_path / "a.npz")


def test_a_ports_tensors_are_read_for_a_zoo_name(tmp_path, deeplab, refused, monkeypatch):
    monkeypatch.setattr(zoo, "spec", partial(zoo.spec, width=1 / 32))

    def attached(spec, path):
        assert path == tmp_path / "port.pth"
        blobs = {name: [np.ones(shape, "f4") for shape in held] for name, held in spec.param_shapes.items() if held}
        return replace(spec, weights=blobs)

    monkeypatch.setattr("deeplab_repro.zoo.ports.attach_weights", attached)
    (tmp_path / "port.pth").touch()
    result = deeplab("convert", "deeplab_largefov", tmp_path / "port.pth", "-o", tmp_path / "a.caffemodel")
    assert result.exit_code == 0, result.output
    assert (read_weights(tmp_path / "a.caffemodel")["fc6"][0] == 1).all()
    refused("a port's tensors need their net", "convert", tmp_path / "port.pth", "-o", tmp_path / "a.npz")
