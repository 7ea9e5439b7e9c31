"""Nets whose layer names repeat or are absent: weights in and out."""

from __future__ import annotations

import numpy as np
import pytest

from prototxt_import import net_text, parse_net, read_weights, write_weights

TEXT = (
    'input: "x" input_shape { dim: 1 dim: 2 dim: 5 dim: 5 } '
    'layer { name: "c" type: "Convolution" bottom: "x" top: "a" convolution_param { num_output: 2 kernel_size: 1 } } '
    'layer { type: "ReLU" bottom: "a" top: "b" } '
    'layer { name: "c" type: "Convolution" bottom: "b" top: "d" convolution_param { num_output: 2 kernel_size: 1 } }'
)


def arrays(value: float) -> list[np.ndarray]:
    return [np.full((2, 2, 1, 1), value, np.float32), np.zeros(2, np.float32)]


def test_the_first_of_a_name_takes_the_stored_blobs(tmp_path):
    write_weights({"c": arrays(3)}, None, tmp_path / "w.caffemodel")
    spec = parse_net(TEXT, weights=tmp_path / "w.caffemodel")
    assert spec.weights["c"][0][0, 0, 0, 0] == 3
    assert spec.missing_weights == ("c#2",)
    assert spec.unused_weights == ()


@pytest.mark.parametrize("name", ["w.caffemodel", "w.caffemodel.h5"])
def test_written_models_and_texts_keep_every_layer_apart(name, tmp_path):
    spec = parse_net(TEXT)
    write_weights({"c": arrays(1), "c#2": arrays(2)}, spec, tmp_path / name)
    assert {key: value[0][0, 0, 0, 0] for key, value in read_weights(tmp_path / name).items()} == {"c": 1, "c#2": 2}
    again = parse_net(net_text(spec), weights=tmp_path / name)
    assert again == spec
    assert again.weights["c#2"][0][0, 0, 0, 0] == 2
