"""Cityscapes and CamVid, made ready."""

import json

import numpy as np
import pytest
from PIL import Image

from deeplab_repro.data.sets.datasets import open_dataset
from deeplab_repro.files.tiles import tile_windows
from tests.deeplab_repro.data.sets.releases import RANDOM, SIZE, picture, truth


@pytest.fixture
def city(tmp_path):
    """One image of Cityscapes' layout with label ids."""
    root = tmp_path / "city"
    labels = RANDOM.choice(np.array([0, 7, 8, 11, 26, 33], np.uint8), SIZE)
    picture(root / "leftImg8bit/val/aachen/aachen_0_leftImg8bit.png")
    label = root / "gtFine/val/aachen/aachen_0_gtFine_labelIds.png"
    label.parent.mkdir(parents=True)
    Image.fromarray(labels).save(label)
    return root, labels


def test_cityscapes_label_ids_become_train_ids_and_go_back(city, tmp_path, deeplab):
    root, labels = city
    dataset = open_dataset(root)
    ids_of = {0: 255, 7: 0, 8: 1, 11: 2, 26: 13, 33: 18}
    expected = np.vectorize(ids_of.get)(labels)
    np.testing.assert_array_equal(dataset.truth(dataset.samples[0]), expected)
    answers = tmp_path / "answers"
    answers.mkdir()
    Image.fromarray(labels).save(answers / "aachen_0.png")
    out = tmp_path / "submit"
    result = deeplab("eval", root, "--labels", answers, "--write-labels", out, "--layout", "cityscapes", "--json", "-")
    assert json.loads(result.stdout)["stages"]["network"]["pixel_accuracy"] == 1
    written = np.array(Image.open(out / "aachen_0_labelIds.png"))
    np.testing.assert_array_equal(written, np.where(labels == 0, 0, labels))


def test_cityscapes_full_is_cut_into_overlapping_tiles(city, tmp_path, deeplab):
    root, _ = city
    out = tmp_path / "out"
    assert deeplab("lists", "cityscapes", root, "--tile", "8x12+4", "-o", out).exit_code == 0
    whole = open_dataset(root)
    expected = whole.truth(whole.samples[0])
    windows = tile_windows(*SIZE, (8, 12), (4, 4))
    maps = truth(out, "val")
    assert len(maps) == len(windows) == 4
    for i, window in enumerate(windows):
        np.testing.assert_array_equal(maps[f"aachen_0_{i}"], expected[window])


def test_camvid_as_segnet_has_it(tmp_path, deeplab):
    root = tmp_path / "camvid"
    labels = RANDOM.integers(0, 12, SIZE).astype(np.uint8)
    picture(root / "train" / "x.png")
    (root / "trainannot").mkdir()
    Image.fromarray(labels).save(root / "trainannot" / "x.png")
    out = tmp_path / "out"
    assert deeplab("lists", "camvid", root, "-o", out).exit_code == 0
    np.testing.assert_array_equal(truth(out, "train")["x"], np.where(labels == 11, 255, labels))
