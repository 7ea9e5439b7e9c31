"""A toy net in Caffe's files, small data sets, and the command line as a function."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from deeplab_repro.data.scenes.scenes import CLASSES, draw_scene
from deeplab_repro.files.atomic import output_folder
from deeplab_repro.files.images import write_image
from deeplab_repro.files.palette import save_label_png
from prototxt_import import write_weights
from tests.paths import ROOT

TOY = """\
name: "toy"
input: "data"
input_shape { dim: 1 dim: 3 dim: 33 dim: 33 }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" param { lr_mult: 1 } param { lr_mult: 2 }
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param { pool: MAX kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "fc" type: "Convolution" bottom: "pool1" top: "fc" param { lr_mult: 1 } param { lr_mult: 2 }
  convolution_param { num_output: 5 kernel_size: 3 pad: 2 dilation: 2 } }
layer { name: "fc_interp" type: "Interp" bottom: "fc" top: "fc_interp" interp_param { zoom_factor: 2 } }
"""


@pytest.fixture(scope="session")
def toy(tmp_path_factory):
    """prototxt, caffemodel, spec and weights of a net 3 -> 5 labels with output as large as its input."""
    from prototxt_import import read_net, write_weights

    folder = tmp_path_factory.mktemp("toy")
    (folder / "toy.prototxt").write_text(TOY)
    spec = read_net(folder / "toy.prototxt")
    random = np.random.default_rng(5)
    weights = {
        name: [(random.normal(size=shape) / 8).astype(np.float32) for shape in shapes]
        for name, shapes in spec.param_shapes.items()
        if shapes
    }
    write_weights(weights, spec, folder / "toy.caffemodel", "v2")
    return SimpleNamespace(
        folder=folder,
        prototxt=folder / "toy.prototxt",
        caffemodel=folder / "toy.caffemodel",
        spec=spec,
        weights=weights,
    )


@pytest.fixture
def deeplab():
    """deeplab("verb", ...) runs the command line in this process, as in a pipe: exit_code, stdout, stderr."""
    from typer.testing import CliRunner

    from deeplab_repro.cli import app

    def run(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": None})

    return run


@pytest.fixture
def refused(deeplab):
    """refused(word, "verb", ...) asserts exit code 2 and one line on standard error that holds the word."""

    def run(word, *arguments):
        result = deeplab(*arguments)
        lines = result.stderr.strip().splitlines()
        assert result.exit_code == 2, result.output
        assert len(lines) == 1, result.stderr
        assert lines[0].startswith(f"deeplab {arguments[0]}: error: ")
        assert str(word) in lines[0]
        assert result.stdout == ""

    return run


@pytest.fixture
def photo(tmp_path):
    """An RGB image [37, 50, 3] and its file."""
    from deeplab_repro.files.images import write_image

    pixels = np.random.default_rng(6).integers(0, 256, (37, 50, 3), np.uint8)
    write_image(pixels, tmp_path / "photo.png")
    return SimpleNamespace(path=tmp_path / "photo.png", pixels=pixels)


@pytest.fixture
def two_processes():
    """two_processes("verb", ...) runs it under torchrun with gloo: exit code and standard error."""

    def run(*arguments):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        command = [*torchrun, "-m", "deeplab_repro", *map(str, arguments)]
        done = subprocess.run(command, env=environment, timeout=120, stderr=subprocess.PIPE, text=True)
        return done.returncode, done.stderr

    return run


@pytest.fixture
def recipe_folder(tmp_path):
    """A folder for a recipe, with five images and both lists."""
    random = np.random.default_rng(0)
    with output_folder(tmp_path / "recipe" / "list") as lists:
        for i in range(5):
            write_image(random.integers(0, 255, (50, 60, 3), np.uint8), tmp_path / f"{i}.png")
            save_label_png(random.integers(0, 21, (50, 60), np.uint8), tmp_path / f"{i}_label.png")
        for name in ("train_aug", "trainval_aug"):
            (lists / f"{name}.txt").write_text("".join(f"/{i}.png /{i}_label.png\n" for i in range(5)))
    return tmp_path


# What the weights of `weights_folder` always answer.
ANSWER = 15
VOC_NAMES = ("2007_000001", "2007_000002", "2007_000003")


@pytest.fixture
def voc_devkit(tmp_path):
    """VOCdevkit/VOC2012 with three pictures, in which class 15 has a rectangle with a void border."""
    root = tmp_path / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    random = np.random.default_rng(4)
    truths = {}
    for number, name in enumerate(VOC_NAMES):
        height, width = 30 + 7 * number, 41
        truth = np.zeros((height, width), np.uint8)
        truth[5:20, 4:30] = 255
        truth[6:19, 5:29] = ANSWER
        truths[name] = truth
        write_image(random.integers(0, 256, (height, width, 3), np.uint8), root / "JPEGImages" / f"{name}.jpg")
        save_label_png(truth, root / "SegmentationClass" / f"{name}.png")
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("\n".join(VOC_NAMES) + "\n")
    return SimpleNamespace(folder=root.parent, root=root, truths=truths)


@pytest.fixture
def weights_folder(tmp_path):
    """Weights of narrow DeepLab-LargeFOV and DeepLab nets under the catalog's names; their answer is always ANSWER."""
    from deeplab_repro import zoo

    folder = tmp_path / "weights"
    folder.mkdir()
    for name, model in (("v1_largefov_train", "deeplab_largefov"), ("v1_deeplab_train", "deeplab")):
        spec = zoo.spec(model, width=1 / 64)
        weights = {
            layer: [np.zeros(shape, np.float32) for shape in shapes]
            for layer, shapes in spec.param_shapes.items()
            if shapes
        }
        weights["fc8_voc12"][1][ANSWER] = 9
        write_weights(weights, spec, folder / f"{name}.caffemodel", "v1")
    return folder


@pytest.fixture(scope="session")
def scored_scenes(tmp_path_factory):
    """Five scenes in VOC's layout with void outlines, scores as .npy beside them, and answers as PNGs."""
    root = tmp_path_factory.mktemp("voc")
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation", "scores", "labels"):
        (root / name).mkdir(parents=True)
    random = np.random.default_rng(2)
    names = [f"s{i}" for i in range(5)]
    for i, name in enumerate(names):
        image, labels = draw_scene(i, 40, 50 + i)
        labels[random.random(labels.shape) < 0.02] = 255
        write_image(image, root / "JPEGImages" / f"{name}.png")
        save_label_png(labels, root / "SegmentationClass" / f"{name}.png")
        scores = random.normal(size=(len(CLASSES), *labels.shape)).astype(np.float32)
        scores[1:] += 2 * (labels[None] == np.arange(1, len(CLASSES))[:, None, None])
        np.save(root / "scores" / f"{name}.npy", scores)
        save_label_png(scores.argmax(0), root / "labels" / f"{name}.png")
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("\n".join(names) + "\n")
    (root / "classes.json").write_text(json.dumps({"classes": [f"c{i}" for i in range(len(CLASSES))]}))
    return root
