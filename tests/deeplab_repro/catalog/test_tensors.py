"""Tensors of a weight file beside those of its net."""

import numpy as np
import pytest

from deeplab_repro import zoo
from deeplab_repro.catalog import check_tensors, expected_tensors, read_catalog
from deeplab_repro.catalog.tensors import differences
from prototxt_import import write_weights

CATALOG = read_catalog()


RELEASED = [name for name, entry in CATALOG.entries.items() if entry.released]


def _blobs(entry):
    """Arrays of the expected shapes that take no memory."""
    return {
        layer: [np.broadcast_to(np.float32(0), shape) for shape in shapes]
        for layer, shapes in expected_tensors(entry).shapes.items()
    }


@pytest.mark.parametrize("name", RELEASED)
def test_recorded_counts_are_those_of_the_net(name):
    entry = CATALOG.entry(name)
    expected = expected_tensors(entry)
    assert (entry.blobs, entry.parameters) == (expected.blobs, expected.parameters)
    assert entry.blobs > 0


def test_scales_share_what_is_asked_for_once():
    entry = CATALOG.entry("v2_resnet101_train")
    shapes = expected_tensors(entry).shapes
    assert entry.parameters == zoo.variant(entry.model).parameters
    assert not [name for name in shapes if name.endswith(("_res05", "_res075"))]
    assert "fc1_voc12_c3" in shapes


@pytest.mark.parametrize(
    ("name", "absent"),
    [("vgg16_20M", "fc8_voc12"), ("v2_vgg16_init", "fc6_1"), ("v2_resnet101_init", "fc1_voc12_c0")],
)
def test_files_to_start_from_need_no_classifier(name, absent):
    shapes = expected_tensors(CATALOG.entry(name)).shapes
    assert absent not in shapes
    assert "conv1_1" in shapes or "res5c_branch2c" in shapes


def test_tensors_that_fit_pass_whatever_else_is_there():
    entry = CATALOG.entry("v1_largefov")
    blobs = _blobs(entry)
    old = {
        name: [blob if blob.ndim == 4 else blob.reshape(1, 1, 1, -1) for blob in stored]
        for name, stored in blobs.items()
    }
    assert differences(entry, {**old, "extra": [np.zeros(3)]}) == []


def test_what_does_not_fit_is_named():
    entry = CATALOG.entry("v1_largefov")
    blobs = _blobs(entry)
    blobs["fc6"] = [np.zeros((4, 2, 3, 3), np.float32), blobs["fc6"][1]]
    blobs["fc7"] = blobs["fc7"][:1]
    del blobs["fc8_voc12"]
    assert differences(entry, blobs) == [
        "layer 'fc6' has a tensor 4x2x3x3, should be 1024x512x3x3",
        "layer 'fc7' has 1 tensors, should be 2",
        "layer 'fc8_voc12' is missing",
    ]


def test_refused_file_names_the_first_differences(tmp_path):
    write_weights({"fc6": [np.zeros((2, 2), np.float32)]}, None, tmp_path / "w.caffemodel")
    with pytest.raises(ValueError, match=r"not the weights of v1_largefov: layer 'conv1_1' is missing; .* and 13 more"):
        check_tensors(CATALOG.entry("v1_largefov"), tmp_path / "w.caffemodel")
