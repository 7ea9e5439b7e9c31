"""`deeplab export`: Caffe files, training files, beginnings and ONNX from the command line."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from deeplab_repro import export_net, load_caffe, zoo
from deeplab_repro.export.caffe import net_arrays
from deeplab_repro.zoo import models
from deeplab_repro.zoo.transplant import THINNED
from prototxt_import import (
    read_net,
    read_solver,
    read_weights,
    write_weights,
)
from tests.deeplab_repro.zoo.small_vgg16 import WIDTH, vgg16
from tests.paths import GOLDEN


def bits(weights):
    return {name: [np.asarray(blob, "<f4").tobytes() for blob in blobs] for name, blobs in weights.items() if blobs}


@pytest.fixture
def narrow_zoo(monkeypatch):
    """Zoo nets at a twentieth of their width."""
    for name in ("spec", "training_spec"):
        monkeypatch.setattr(zoo, name, partial(getattr(zoo, name), width=0.05))


def test_command_writes_a_zoo_model_in_the_dialect_asked_for(deeplab, tmp_path, narrow_zoo):
    result = deeplab("export", "deeplab_largefov", "-o", tmp_path, "--dialect", "v2", "--size", "65x73", "--json", "-")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["dialect"] == "v2"
    text = Path(answer["prototxt"]).read_text()
    assert "dilation: 12" in text
    assert "layers" not in text
    again = read_net(answer["prototxt"], answer["weights"])
    assert again.missing_weights == ()
    assert again.inputs == {"data": (1, 3, 65, 73)}


@pytest.mark.parametrize("name", zoo.VARIANTS)
def test_command_writes_training_and_deployment_files_that_read_back_equal(deeplab, name, tmp_path, monkeypatch):
    if "resnet" in name:  # blocks are alike
        for function in ("spec", "training_spec"):
            monkeypatch.setattr(zoo, function, partial(getattr(zoo, function), depths=(1, 2, 2, 1)))
    result = deeplab("export", name, "--train", "--deploy", "--dataset", "context", "-o", tmp_path, "--json", "-")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert sorted(Path(file).name for file in answer["files"]) == [
        "deploy.prototxt",
        "solver.prototxt",
        "train.prototxt",
    ]
    open_ones = {variable: f"${{{variable}}}" for variable in ("DATA_ROOT", "EXP", "TRAIN_SET")}
    train = read_net(tmp_path / "train.prototxt", phase="TRAIN", variables=open_ones)
    deploy = read_net(tmp_path / "deploy.prototxt")
    assert train == zoo.training_spec(name, dataset="context")
    assert deploy == zoo.spec(name, dataset="context")
    assert train.dialect == deploy.dialect == answer["dialect"] == zoo.variant(name).dialect
    recipe = zoo.variant(name).recipe
    assert train.blobs["data"] == (recipe.batch, 3, recipe.crop, recipe.crop)
    assert train.layer("data").options.transform.mean_value == (104.008, 116.669, 122.675)
    solver = read_solver(tmp_path / "solver.prototxt")
    assert (solver.train_net, solver.momentum, solver.weight_decay) == ("train.prototxt", 0.9, 0.0005)
    assert (solver.base_lr, solver.lr_policy, solver.max_iter) == (recipe.base_lr, recipe.lr_policy, recipe.max_iter)
    assert solver.iter_size * recipe.batch == {"vgg16": recipe.batch}.get(zoo.variant(name).backbone, 10)


def test_command_fills_the_releases_placeholders_and_takes_trained_weights(deeplab, tmp_path, narrow_zoo):
    net = models.build("deeplab_largefov", num_classes=3, dataset="own", width=0.05)
    weights = export_net(net, tmp_path / "trained").weights
    options = ["--train", "--classes", "3", "--dataset", "own", "--weights", weights, "--size", "65x65"]
    names = ["--var", "DATA_ROOT=/data", "--var", "EXP=voc12", "--var", "TRAIN_SET=train_aug"]
    result = deeplab("export", "deeplab_largefov", *options, *names, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    again = read_net(tmp_path / "out" / "train.prototxt", tmp_path / "out" / "model.caffemodel", phase="TRAIN")
    data = again.layer("data").options
    assert (data.root_folder, data.source) == ("/data", "voc12/list/train_aug.txt")
    assert data.transform.crop_size == 65
    assert bits(again.weights) == bits(net_arrays(net))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bundled", "--deploy"], "are for zoo names: deeplab, deeplab_4x4"),
        (["deeplab", "--deploy", "--onnx"], "--onnx: goes with none of --train, --recipe and --deploy"),
        (["deeplab", "--train", "--size", "306"], "--size 306: must be HEIGHTxWIDTH"),
        (["deeplab_largefov", "--train", "--size", "65x73"], "the data layer cuts squares"),
        (["deeplab", "--deploy", "--dialect", "v2"], "the v2 dialect has no such layer"),
        (["deeplab", "--deploy", "--dataset", "ade20k"], "dataset 'ade20k' is unknown"),
        (["deeplab", "--weights", "a", "--init", "b"], "--weights and --init exclude each other"),
        (["deeplab", "--deploy", "--weights", "absent.caffemodel"], "absent.caffemodel"),
    ],
)
def test_command_refuses(deeplab, arguments, message, tmp_path):
    result = deeplab("export", *arguments, "-o", tmp_path / "out")
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_command_refuses_weights_that_leave_layers_empty(deeplab, tmp_path):
    folder = GOLDEN / "nets" / "v2_largefov"
    stored = read_weights(folder / "weights.caffemodel")
    stored.pop("fc6")
    write_weights(stored, None, tmp_path / "w.caffemodel")
    result = deeplab("export", folder / "net.prototxt", "--weights", tmp_path / "w.caffemodel", "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "holds no weights for the layers fc6" in result.stderr
    assert not (tmp_path / "out").exists()


def test_command_writes_the_beginning_and_tells_what_came_from_where(deeplab, tmp_path, monkeypatch):
    write_weights(vgg16(), None, tmp_path / "vgg.caffemodel", "v1")
    spec = zoo.spec
    monkeypatch.setattr(zoo, "spec", lambda *arguments, **facts: spec(*arguments, **facts, width=WIDTH))
    arguments = ["export", "deeplab_largefov", "--deploy", "--init", tmp_path / "vgg.caffemodel", "-o", tmp_path / "o"]
    result = deeplab(*arguments, "--json", "-")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)["init"]
    assert [row["layer"] for row in told["layers"] if row["what"] == THINNED] == ["fc6", "fc7"]
    assert told["skipped"] == ["fc8"]
    again = read_net(tmp_path / "o" / "deploy.prototxt", tmp_path / "o" / "init.caffemodel")
    assert again.missing_weights == ()
    assert np.array_equal(again.weights["conv3_3"][0], vgg16()["conv3_3"][0])
    result = deeplab(*arguments)
    assert result.exit_code == 0, result.output
    assert "thinned" in result.stdout


def test_command_refuses_a_file_of_which_nothing_fits(deeplab, tmp_path):
    write_weights({"ip1": [np.zeros((2, 3), "f4")]}, None, tmp_path / "w.caffemodel")
    result = deeplab(
        "export", "deeplab_largefov", "--deploy", "--init", tmp_path / "w.caffemodel", "-o", tmp_path / "o"
    )
    assert result.exit_code == 2, result.output
    assert "no layer of it fits DeepLab-LargeFOV; first of all, conv1_1: the file has no such layer" in result.stderr
    assert not (tmp_path / "o").exists()


def test_export_verb_writes_a_checked_file(deeplab, refused, toy, tmp_path):
    runtime = pytest.importorskip("onnxruntime", reason="needs the package onnxruntime: pip install onnxruntime")
    target = tmp_path / "toy.onnx"
    result = deeplab("export", toy.prototxt, "--weights", toy.caffemodel, "--onnx", "--size", "41x57", "-o", target)
    assert result.exit_code == 0, result.output
    net = load_caffe(toy.prototxt, toy.caffemodel)
    data = torch.randn(1, 3, 41, 57)
    session = runtime.InferenceSession(target, providers=["CPUExecutionProvider"])
    (got,) = session.run(["fc_interp"], {"data": data.numpy()})
    want = net(data=data)["fc_interp"].detach().numpy()
    assert np.abs(got - want).max() <= 2e-6 * np.abs(want).max()
    refused("--size", "export", toy.prototxt, "--onnx", "--size", "big", "-o", target)
    refused("TRAIN", "export", toy.prototxt, "--onnx", "--phase", "TRAIN", "-o", target)


def test_the_files_written_and_their_dialect_are_printed(toy, deeplab, tmp_path):
    result = deeplab("export", toy.prototxt, "--weights", toy.caffemodel, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert len(written) == 2
    for name in written:
        assert name in result.stdout
    assert "v2" in result.stdout
    (weights,) = (tmp_path / "out").glob("*.caffemodel")
    assert bits(read_weights(weights)) == bits(toy.weights)


@pytest.mark.parametrize(("there", "mode"), [(False, "CPU"), (True, "GPU")])
def test_a_solver_runs_on_what_is_there(deeplab, tmp_path, narrow_zoo, monkeypatch, there, mode):
    kind = "cuda" if there else "cpu"
    monkeypatch.setattr("deeplab_repro.jobs.devices.pick_device", lambda device: torch.device(kind))
    result = deeplab("export", "deeplab_largefov", "--train", "-o", tmp_path / "t")
    assert result.exit_code == 0, result.output
    assert deeplab("export", "deeplab_largefov", "--recipe", "-o", tmp_path / "r").exit_code == 0
    for solver in (*(tmp_path / "t").glob("solver*"), *(tmp_path / "r").glob("solver*")):
        assert read_solver(solver).solver_mode == mode


def test_own_data_tells_classes_images_and_lists(deeplab, refused, tmp_path, narrow_zoo):
    own = ("export", "deeplab_largefov", "--train", "--deploy", "--dataset", "own")
    refused("--dataset own: how many classes? Give --data DIR", *own, "-o", tmp_path / "net")
    refused("no such folder", *own, "--data", tmp_path / "gone", "-o", tmp_path / "net")
    data = tmp_path / "data"
    (data / "list").mkdir(parents=True)
    refused("has no list/train.txt; make it so: deeplab lists voc-layout", *own, "--data", data, "-o", tmp_path / "net")
    (data / "list" / "train.txt").write_text("/JPEGImages/a.jpg /SegmentationClass/a.png\n")
    refused("has no classes.json", *own, "--data", data, "-o", tmp_path / "net")
    (data / "classes.json").write_text(json.dumps({"classes": ["sky", "ground", "water"]}))
    assert not (tmp_path / "net").exists()
    result = deeplab(*own, "--data", data, "--batch", 2, "-o", tmp_path / "net")
    assert result.exit_code == 0, result.output
    train = read_net(tmp_path / "net" / "train.prototxt", phase="TRAIN")
    options = train.layer("data").options
    assert (options.root_folder, options.source, options.batch_size) == (str(data), "list/train.txt", 2)
    assert train.layer("fc8_own").options.num_output == 3
    assert read_net(tmp_path / "net" / "deploy.prototxt").inputs["data"][0] == 1
    assert (tmp_path / "net" / "list" / "train.txt").read_text() == (data / "list" / "train.txt").read_text()
    refused("--batch: is for --train", "export", "deeplab_largefov", "--deploy", "--batch", 2, "-o", tmp_path / "o")
