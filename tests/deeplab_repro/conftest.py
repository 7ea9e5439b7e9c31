"""A toy net in Caffe's files, and the command line as a function."""

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

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
        return CliRunner().invoke(app, [str(each) for each in arguments], env={"COLUMNS": None})

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
