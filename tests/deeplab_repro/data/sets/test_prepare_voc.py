"""VOC 2012 with SBD, Pascal-Context and PASCAL-Part, made ready."""

import json

import numpy as np
import pytest
from scipy.io import savemat

from deeplab_repro.data.sets import prepare_voc
from deeplab_repro.data.sets.class_tables import CONTEXT_59
from deeplab_repro.data.sets.datasets import open_dataset
from tests.deeplab_repro.data.sets.releases import RANDOM, SIZE, ids, picture, truth


def test_train_aug_is_sbd_and_voc_train_without_val(voc_with_sbd, tmp_path, deeplab):
    root, sbd, labels = voc_with_sbd
    out = tmp_path / "out"
    result = deeplab("lists", "voc2012", root, "--sbd", sbd, "-o", out, "--json", "-")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["images"] == {"train": 2, "trainval": 3, "trainval_aug": 4, "train_aug": 3, "val": 1}
    assert "train_aug: 3 images, the published list has 10582" in answer["notes"]
    maps = truth(out, "train_aug")
    assert set(maps) == set("abd")
    for name, labels_there in maps.items():
        np.testing.assert_array_equal(labels_there, labels[name])
    lines = (out / "list" / "train_aug.txt").read_text().splitlines()
    assert lines[0] == "/JPEGImages/a.jpg /SegmentationClassAug/a.png"
    assert deeplab("doctor", out, "--split", "train_aug", "--split", "val").exit_code == 0


def test_a_published_list_is_recognised_in_its_own_order(monkeypatch):
    names, train = ["a", "b", "c"], ["c"]
    published = "".join(f"/JPEGImages/{n}.jpg /SegmentationClassAug/{n}.png\n" for n in "cab")
    monkeypatch.setattr(prepare_voc, "COUNTS", {"train_aug": 3, "val": 1})
    monkeypatch.setattr(prepare_voc, "MD5", {"train_aug": prepare_voc._md5(published), "val": "0"})
    texts, notes = prepare_voc._as_published({"train_aug": names, "val": ["x"]}, train, "SegmentationClassAug")
    assert texts == {"train_aug.txt": published}
    assert any("not the published" in note for note in notes)


@pytest.mark.parametrize("classes", [59, 60])
def test_context_maps_its_names_and_leaves_the_rest_void_or_background(tmp_path, deeplab, classes):
    release, voc = tmp_path / "context", tmp_path / "VOC2010"
    names = ["abacus", *CONTEXT_59, "zebra"]
    (release / "trainval").mkdir(parents=True)
    (release / "labels.txt").write_text("".join(f"{i}: {name}\n" for i, name in enumerate(names, 1)))
    labels = RANDOM.integers(1, len(names) + 1, SIZE).astype(np.uint16)
    for name, split in (("a", "train"), ("b", "val")):
        savemat(release / "trainval" / f"{name}.mat", {"LabelMap": labels})
        picture(voc / "JPEGImages" / f"{name}.jpg")
        ids(voc / "ImageSets/Main" / f"{split}.txt", [name])
    out = tmp_path / "out"
    result = deeplab("lists", "context", release, "--voc", voc, "--classes", classes, "-o", out)
    assert result.exit_code == 0, result.output
    first, rest = classes - 59, 0 if classes == 60 else 255
    known = (labels >= 2) & (labels <= 60)
    np.testing.assert_array_equal(truth(out, "val")["b"], np.where(known, labels - 2 + first, rest))
    assert open_dataset(out, "val").num_classes == classes


@pytest.mark.parametrize("wrong", [np.full(SIZE, 0.5), np.full(SIZE, -1.0), np.full(SIZE, np.nan), "text"])
def test_a_matlab_file_without_whole_numbers_is_refused(tmp_path, wrong):
    savemat(tmp_path / "a.mat", {"right": np.full(SIZE, 3.0), "wrong": wrong})
    np.testing.assert_array_equal(prepare_voc.load_labels(tmp_path / "a.mat", "right"), np.full(SIZE, 3))
    with pytest.raises(ValueError, match=r"a\.mat: wrong must be a map of whole numbers"):
        prepare_voc.load_labels(tmp_path / "a.mat", "wrong")


def test_person_parts_are_merged_and_images_without_persons_left_out(tmp_path, deeplab):
    release, voc = tmp_path / "parts", tmp_path / "VOC2010"
    (release / "Annotations_Part").mkdir(parents=True)

    def mask(rows):
        made = np.zeros(SIZE, np.uint8)
        made[rows] = 1
        return made

    def annotation(kind, parts):
        items = np.array([{"part_name": n, "mask": mask(r)} for n, r in parts], object)
        objects = np.array([{"class": kind, "mask": mask(slice(0, 12)), "parts": items}], object)
        return {"anno": {"objects": objects}}

    person = [("head", 0), ("lear", 1), ("neck", 2), ("luarm", 3), ("rhand", 4), ("ruleg", 5), ("lfoot", 6)]
    savemat(release / "Annotations_Part" / "a.mat", annotation("person", person))
    savemat(release / "Annotations_Part" / "b.mat", annotation("dog", [("head", 0)]))
    for name in "ab":
        picture(voc / "JPEGImages" / f"{name}.jpg")
    ids(voc / "ImageSets/Main/train.txt", "ab")
    ids(voc / "ImageSets/Main/val.txt", "")
    out = tmp_path / "out"
    result = deeplab("lists", "person-part", release, "--voc", voc, "-o", out)
    assert result.exit_code == 0, result.output
    maps = truth(out, "train")
    assert set(maps) == {"a"}
    assert maps["a"][:, 0].tolist() == [1, 1, 2, 3, 4, 5, 6, 0, 0, 0, 0, 0]
