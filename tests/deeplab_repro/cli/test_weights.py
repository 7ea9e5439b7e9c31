"""`deeplab weights`: what it prints and refuses."""

import json

import numpy as np
import pytest

from deeplab_repro.catalog import read_catalog
from prototxt_import import write_weights


@pytest.fixture
def vgg_backbone(tmp_path):
    """The convolutions of VGG-16 before fc6, enough for v2_vgg16_init."""
    from deeplab_repro.catalog import expected_tensors

    shapes = expected_tensors(read_catalog().entry("v2_vgg16_init")).shapes
    weights = {layer: [np.zeros(shape, np.float32) for shape in blobs] for layer, blobs in shapes.items()}
    write_weights(weights, None, tmp_path / "mine.caffemodel")
    return tmp_path / "mine.caffemodel"


def test_list_shows_every_entry(deeplab, tmp_path):
    result = deeplab("weights", "list", "--dir", tmp_path)
    assert result.exit_code == 0, result.output
    for name in read_catalog().entries:
        assert name in result.stdout
    rows = {
        row["name"]: row
        for row in json.loads(deeplab("weights", "list", "--dir", tmp_path, "--json", "-").stdout)["files"]
    }
    assert rows["v1_largefov"]["parameters"] == 20_505_429
    assert rows["v1_largefov"]["path"] is None
    assert not rows["v1_largefov_train"]["released"]


def test_added_file_is_listed_and_checked(deeplab, vgg_backbone, tmp_path):
    folder = tmp_path / "store"
    result = deeplab("weights", "add", "v2_vgg16_init", vgg_backbone, "--dir", folder)
    assert result.exit_code == 0, result.output
    assert "26 tensors of 14,714,688 numbers" in result.stdout
    assert "yes" in deeplab("weights", "list", "--dir", folder).stdout
    assert "as it should be" in deeplab("weights", "check", "--dir", folder).stdout
    kept = folder / "v2_vgg16_init.caffemodel"
    kept.write_bytes(kept.read_bytes()[:-10])
    result = deeplab("weights", "check", "--dir", folder, "--json", "-")
    assert result.exit_code == 1
    assert "another file than before" in json.loads(result.stdout)["files"][0]["problem"]


def test_refusals_are_one_line(refused, deeplab, vgg_backbone, tmp_path):
    refused("v1_largefv: not in the catalog", "weights", "add", "v1_largefv", vgg_backbone, "--dir", tmp_path / "s")
    refused("layer 'fc6_1' is missing", "weights", "add", "v2_vgg16_train", vgg_backbone, "--dir", tmp_path / "s")
    refused("holds no file of the catalog", "weights", "check", "--dir", tmp_path / "s")
    refused("never released", "weights", "fetch", "v1_largefov_train", "--dir", tmp_path / "s")
    refused("one NAME", "weights", "fetch", "vgg16", "vgg16_20M", "--url", "http://x", "--dir", tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_dead_address_says_what_to_do(deeplab, tmp_path):
    result = deeplab(
        "weights", "fetch", "vgg16_20M", "--url", "http://127.0.0.1:9/w.caffemodel", "--dir", tmp_path / "s"
    )
    assert result.exit_code == 2
    assert "no answer" in result.stderr
    assert "deeplab weights add vgg16_20M FILE" in result.stderr


def test_folder_comes_from_the_environment(deeplab, monkeypatch, tmp_path):
    monkeypatch.setenv("DEEPLAB_WEIGHTS", str(tmp_path / "here"))
    assert json.loads(deeplab("weights", "list", "--json", "-").stdout)["folder"] == str(tmp_path / "here")
