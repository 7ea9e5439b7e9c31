"""`deeplab densify` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from deeplab_repro import load_caffe
from prototxt_import import read_net, write_weights

NET = """\
name: "small"
input: "data"
input_dim: 1 input_dim: 3 input_dim: 20 input_dim: 20
layers { name: "conv1" type: CONVOLUTION bottom: "data" top: "conv1"
  convolution_param { num_output: 2 kernel_size: 3 stride: 2 } }
layers { name: "pool1" type: POOLING bottom: "conv1" top: "pool1"
  pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layers { name: "pool2" type: POOLING bottom: "pool1" top: "pool2"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layers { name: "fc" type: INNER_PRODUCT bottom: "pool2" top: "fc" inner_product_param { num_output: 5 } }
layers { name: "prob" type: SOFTMAX bottom: "fc" top: "prob" }
"""


@pytest.fixture
def net(tmp_path):
    (tmp_path / "net.prototxt").write_text(NET)
    spec = read_net(tmp_path / "net.prototxt")
    random = np.random.default_rng(0)
    weights = {name: [random.normal(size=shape) for shape in shapes] for name, shapes in spec.param_shapes.items()}
    write_weights(weights, spec, tmp_path / "w.caffemodel", "v1")
    return tmp_path


def test_written_files_give_the_classifiers_scores_at_every_offset(deeplab, net):
    options = ["--output-stride", "2", "--size", "28x26", "-o", net / "dense", "--json", "-"]
    result = deeplab("densify", net / "net.prototxt", "--weights", net / "w.caffemodel", *options)
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert [Path(file).name for file in answer["files"]] == ["test.prototxt", "model.caffemodel"]
    changed = {row["layer"]: row for row in answer["changed"]}
    assert changed["fc"]["type"] == "InnerProduct -> Convolution"
    assert "dilation 4x4" in changed["fc"]["after"]
    assert answer["outputs"]["prob"]["field"] == [19, 19]
    original = load_caffe(net / "net.prototxt", net / "w.caffemodel")
    dense = load_caffe(net / "dense" / "test.prototxt", net / "dense" / "model.caffemodel")
    assert dense.spec.missing_weights == ()
    x = torch.randn(1, 3, 28, 26)
    with torch.no_grad():
        scores = dense(data=x)["prob"][0]
        assert scores.shape == (5, 5, 4)
        for i in range(5):
            for j in range(4):
                crop = x[:, :, 2 * i : 2 * i + 20, 2 * j : 2 * j + 20]
                assert torch.allclose(scores[:, i, j], original(data=crop)["prob"][0], atol=1e-5)


def test_table_says_what_became_of_each_layer(deeplab, net):
    result = deeplab(
        "densify", net / "net.prototxt", "--weights", net / "w.caffemodel", "--pooling", "window", "-o", net / "d"
    )
    assert result.exit_code == 0, result.output
    out = result.stdout
    assert "InnerProduct -> Convolution" in out
    assert "field 19 x 19" in out


def test_without_weights_windows_are_a_prototxt_alone(deeplab, net):
    options = ["--output-stride", "4", "--pooling", "window"]
    result = deeplab("densify", net / "net.prototxt", *options, "-o", net / "dense")
    assert result.exit_code == 0, result.output
    assert [file.name for file in (net / "dense").iterdir()] == ["test.prototxt"]
    assert "hole: 2" in (net / "dense" / "test.prototxt").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--output-stride", "3"], "brings the stride to 2, which output_stride 3 does not divide"),
        (["--output-stride", "0"], "output_stride is 0"),
        (["--pooling", "holes"], "pooling is 'holes'; known are exact, window"),
        (["--size", "7"], "--size 7: must be HEIGHTxWIDTH"),
        (["--size", "7x7"], "too small"),
        (["--weights", "absent.caffemodel"], "absent.caffemodel"),
    ],
)
def test_refusals_leave_nothing(deeplab, net, options, message):
    result = deeplab("densify", net / "net.prototxt", *options, "-o", net / "out")
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert not (net / "out").exists()
