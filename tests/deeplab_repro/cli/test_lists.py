"""`deeplab lists`: what it prints, writes and refuses."""

import json
from functools import partial

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from deeplab_repro import zoo
from tests.deeplab_repro.data.sets.releases import RANDOM, SIZE, ids, picture


def test_what_is_no_release_is_refused_and_leaves_nothing(voc_with_sbd, refused, tmp_path):
    root, sbd, _ = voc_with_sbd
    out = tmp_path / "out"
    refused("no .mat files", "lists", "voc2012", root, "--sbd", tmp_path, "-o", out)
    refused("--voc", "lists", "context", root, "-o", out)
    refused("--annotations", "lists", "coco-voc", root, "-o", out)
    refused("leftImg8bit", "lists", "cityscapes", root, "-o", out)
    refused("CamVid", "lists", "camvid", root, "-o", out)
    refused("COCO-Stuff", "lists", "coco-stuff", root, "-o", out)
    (sbd / "cls" / "d.mat").write_bytes(b"nothing")
    refused("d.mat", "lists", "voc2012", root, "--sbd", sbd, "-o", out)
    ids(root / "ImageSets/Main/train.txt", "a")
    ids(root / "ImageSets/Main/val.txt", "c")
    savemat(sbd / "a.mat", {"anno": np.ones(3)})
    refused("a.mat: no annotation of PASCAL-Part", "lists", "person-part", sbd, "--voc", root, "-o", out)
    assert not out.exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.fixture
def camvid(tmp_path):
    """CamVid as SegNet has it: two images to train on, one to validate."""
    root = tmp_path / "camvid"
    for split, names in (("train", "ab"), ("val", "c")):
        (root / f"{split}annot").mkdir(parents=True)
        for name in names:
            picture(root / split / f"{name}.png")
            Image.fromarray(RANDOM.integers(0, 12, SIZE, np.uint8)).save(root / f"{split}annot" / f"{name}.png")
    return root


def test_the_splits_and_their_sizes_are_printed(camvid, deeplab, tmp_path):
    result = deeplab("lists", "camvid", camvid, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert result.stdout.splitlines()[:2] == ["train: 2 images", "val: 1 images"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "JPEGImages", "SegmentationClass", "ImageSets", "list", "classes.json",
    }  # fmt: skip


def test_json_tells_the_same(camvid, deeplab, tmp_path):
    result = deeplab("lists", "camvid", camvid, "-o", tmp_path / "out", "--json", "-")
    answer = json.loads(result.stdout)
    assert (answer["folder"], answer["images"], answer["classes"]) == (
        str(tmp_path / "out"),
        {"train": 2, "val": 1},
        11,
    )


def test_unfit_command_lines_are_refused(camvid, refused, tmp_path):
    out = tmp_path / "out"
    refused("no such folder", "lists", "camvid", tmp_path / "none", "-o", out)
    refused("--tile 8x12+8", "lists", "camvid", camvid, "-o", out, "--tile", "8x12+8")
    refused("not one of", "lists", "kitti", camvid, "-o", out)
    refused("/proc/nope", "lists", "camvid", camvid, "-o", out, "--json", "/proc/nope/a.json")
    out.mkdir()
    (out / "mine").touch()
    refused(out, "lists", "camvid", camvid, "-o", out)
    assert [path.name for path in out.iterdir()] == ["mine"]


def test_own_data_is_trained_on_with_three_commands(deeplab, tmp_path, monkeypatch):
    """From a folder elsewhere, read-only or not: nothing is named by hand."""
    monkeypatch.setattr(zoo, "training_spec", partial(zoo.training_spec, width=0.02))
    mine = tmp_path / "elsewhere" / "mine"
    for folder in ("images", "labels"):
        (mine / folder).mkdir(parents=True)
    for name in "abcd":
        picture(mine / "images" / f"{name}.jpg")
        Image.fromarray(RANDOM.integers(0, 3, SIZE, np.uint8)).save(mine / "labels" / f"{name}.png")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    result = deeplab("lists", "voc-layout", mine, "-o", "own")
    assert result.exit_code == 0, result.output
    assert "deeplab doctor own" in result.stdout
    command = next(line for line in result.stdout.splitlines() if line.startswith("train on it: deeplab "))
    words = command.removeprefix("train on it: deeplab ").split()
    result = deeplab(*words, "--batch", 1, "--size", "33x33")
    assert result.exit_code == 0, result.output
    assert "deeplab doctor" in result.stdout
    words = result.stdout.splitlines()[-1].removeprefix("train: deeplab ").split()
    result = deeplab(*words, "--max-iter", 1)
    assert result.exit_code == 0, result.output
    assert "Iteration 0, loss = " in result.stdout
    assert deeplab("doctor", "own").exit_code == 0
