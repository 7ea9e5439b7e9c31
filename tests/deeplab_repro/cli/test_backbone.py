"""`deeplab export --backbone`: a training of DeepLab from a classifier's files."""

import json
from pathlib import Path

import numpy as np
import pytest

from deeplab_repro import load_caffe
from deeplab_repro.export.caffe import net_arrays
from prototxt_import import read_net, read_solver, read_weights, write_weights


@pytest.fixture
def classifier(tmp_path):
    """Files of a classifier whose Input states a mean, with weights of a few numbers."""
    text = """name: "c"
    layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 dim: 65 dim: 65 } }
      transform_param { mean_value: 128 mean_value: 127 mean_value: 126 } }
    layer { name: "a" type: "Convolution" bottom: "x" top: "a" convolution_param { num_output: 4 kernel_size: 3 pad: 1
      stride: 4 weight_filler { type: "xavier" } } }
    layer { name: "r" type: "Clip" bottom: "a" top: "a" clip_param { min: 0 max: 6 } }
    layer { name: "b" type: "Convolution" bottom: "a" top: "b" convolution_param { num_output: 4 kernel_size: 3 pad: 1
      stride: 4 group: 4 weight_filler { type: "xavier" } } }
    layer { name: "p" type: "Pooling" bottom: "b" top: "p" pooling_param { pool: AVE global_pooling: true } }
    layer { name: "fc" type: "InnerProduct" bottom: "p" top: "fc" inner_product_param { num_output: 10 } }"""
    prototxt = tmp_path / "deploy.prototxt"
    prototxt.write_text(text)
    net = load_caffe(prototxt)
    write_weights(net_arrays(net), net.spec, tmp_path / "classifier.caffemodel", "bvlc")
    return prototxt, tmp_path / "classifier.caffemodel"


def test_a_classifier_becomes_a_training_of_deeplab(deeplab, tmp_path, classifier):
    prototxt, model = classifier
    result = deeplab(
        "export", "largefov", "--backbone", prototxt, "--weights", model, "--classes", 3, "--output-stride", 8,
        "--fc-channels", 6, "--size", "33x33", "--batch", 2, "-o", tmp_path / "net", "--json", "-",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert [Path(file).name for file in answer["files"]] == [
        "train.prototxt", "test.prototxt", "solver.prototxt", "init.caffemodel",
    ]  # fmt: skip
    assert answer["outputs"] == {"fc8_interp": [1, 3, 33, 33]}
    # No one fork has Clip beside Interp.
    assert answer["dialect"] == "text"
    train = read_net(tmp_path / "net" / "train.prototxt", variables={"DATA_ROOT": "", "EXP": "", "TRAIN_SET": ""})
    assert {part.name: part.options.dilation for part in train.layers if part.name == "fc6"} == {"fc6": (12, 12)}
    begun = read_weights(tmp_path / "net" / "init.caffemodel")
    assert set(begun) == {"a", "b"}
    before = read_weights(model)
    # The mean has moved into the first bias: 128 was taken from blue, now it is 104.008.
    assert np.array_equal(begun["a"][0], before["a"][0])
    assert not np.allclose(begun["a"][1], before["a"][1])
    solver = read_solver(tmp_path / "net" / "solver.prototxt")
    assert (solver.lr_policy, solver.power) == ("poly", 0.9)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("largefov", "--head", "aspp-l"), "--head: is for --backbone NET.prototxt"),
        (("largfov", "--backbone", "N"), "head must be one of largefov, aspp-s, aspp-l, got 'largfov'; did you mean"),
        (("largefov", "--backbone", "N", "--train"), "--backbone: writes train, test and solver files"),
        (("largefov", "--backbone", "N", "--cut", "z"), "no layer makes blob 'z'"),
        (("largefov", "--backbone", "N", "--output-stride", "5"), "which output_stride 5 does not divide"),
        (("largefov", "--backbone", "N", "--dataset", "mine"), "--dataset mine: how many classes?"),
    ],
)
def test_command_refuses_a_backbone_that_cannot_be(deeplab, tmp_path, classifier, arguments, said):
    given = [classifier[0] if argument == "N" else argument for argument in arguments]
    result = deeplab("export", *given, "-o", tmp_path / "out")
    assert result.exit_code == 2 or result.exit_code == 1
    assert said in result.stderr
    assert not (tmp_path / "out").exists()
