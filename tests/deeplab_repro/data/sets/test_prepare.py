"""Data sets as released, in miniature, made ready."""

import json

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from deeplab_repro.data.sets import prepare_voc
from deeplab_repro.data.sets.class_tables import CONTEXT_59
from deeplab_repro.data.sets.datasets import open_dataset
from deeplab_repro.files.palette import save_label_png
from deeplab_repro.files.tiles import tile_windows

RANDOM = np.random.default_rng(8)
SIZE = (12, 20)


def picture(path, size=SIZE):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RANDOM.integers(0, 256, (*size, 3), np.uint8)).save(path)


def ids(path, names):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in names))


def truth(folder, split):
    found = open_dataset(folder, split)
    return {sample.name: found.truth(sample) for sample in found.samples}


@pytest.fixture
def voc(tmp_path):
    """VOC2012 with train a, b and val c, and SBD with b, c and d."""
    root, sbd = tmp_path / "VOC2012", tmp_path / "sbd"
    labels = {name: RANDOM.integers(0, 21, SIZE, np.uint8) for name in "abcd"}
    (root / "SegmentationClass").mkdir(parents=True)
    (sbd / "cls").mkdir(parents=True)
    for name, one in labels.items():
        picture(root / "JPEGImages" / f"{name}.jpg")
        if name != "d":
            save_label_png(one, root / "SegmentationClass" / f"{name}.png")
        if name != "a":
            # Another map than VOC's own for the images that have both.
            savemat(
                sbd / "cls" / f"{name}.mat", {"GTcls": {"Segmentation": one if name == "d" else np.zeros_like(one)}}
            )
    ids(root / "ImageSets/Segmentation/train.txt", "ab")
    ids(root / "ImageSets/Segmentation/val.txt", "c")
    return root, sbd, labels


def test_train_aug_is_sbd_and_voc_train_without_val(voc, tmp_path, deeplab):
    root, sbd, labels = voc
    out = tmp_path / "out"
    result = deeplab("lists", "voc2012", root, "--sbd", sbd, "-o", out, "--json", "-")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["images"] == {"train": 2, "trainval": 3, "trainval_aug": 4, "train_aug": 3, "val": 1}
    assert "train_aug: 3 images, the published list has 10582" in answer["notes"]
    found = truth(out, "train_aug")
    assert set(found) == set("abd")
    for name, one in found.items():
        np.testing.assert_array_equal(one, labels[name])
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
    found = truth(out, "train")
    assert set(found) == {"a"}
    assert found["a"][:, 0].tolist() == [1, 1, 2, 3, 4, 5, 6, 0, 0, 0, 0, 0]


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
    found = open_dataset(root)
    ids_of = {0: 255, 7: 0, 8: 1, 11: 2, 26: 13, 33: 18}
    expected = np.vectorize(ids_of.get)(labels)
    np.testing.assert_array_equal(found.truth(found.samples[0]), expected)
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
    found = truth(out, "val")
    assert len(found) == len(windows) == 4
    for i, window in enumerate(windows):
        np.testing.assert_array_equal(found[f"aachen_0_{i}"], expected[window])


def test_camvid_as_segnet_has_it(tmp_path, deeplab):
    root = tmp_path / "camvid"
    labels = RANDOM.integers(0, 12, SIZE).astype(np.uint8)
    picture(root / "train" / "x.png")
    (root / "trainannot").mkdir()
    Image.fromarray(labels).save(root / "trainannot" / "x.png")
    out = tmp_path / "out"
    assert deeplab("lists", "camvid", root, "-o", out).exit_code == 0
    np.testing.assert_array_equal(truth(out, "train")["x"], np.where(labels == 11, 255, labels))


def test_coco_objects_become_voc_classes_smaller_on_top_and_crowds_void(tmp_path, deeplab):
    picture(tmp_path / "coco/train2014/p.jpg")
    picture(tmp_path / "coco/train2014/q.jpg")

    def box(x0, y0, x1, y1):
        return [[x0, y0, x1, y0, x1, y1, x0, y1]]

    runs = np.zeros(SIZE, np.uint8)
    runs[:, 15:] = 1
    counts = [15 * SIZE[0], 5 * SIZE[0]]
    facts = {
        "images": [{"id": i, "file_name": f"{n}.jpg", "height": 12, "width": 20} for i, n in enumerate("pq")],
        "annotations": [
            {"image_id": 0, "category_id": 1, "iscrowd": 0, "area": 25, "segmentation": box(2, 2, 7, 7)},
            {"image_id": 0, "category_id": 3, "iscrowd": 0, "area": 100, "segmentation": box(0, 0, 10, 10)},
            {"image_id": 0, "category_id": 10, "iscrowd": 0, "area": 240, "segmentation": box(0, 0, 20, 12)},
            {"image_id": 0, "category_id": 1, "iscrowd": 1, "area": 60, "segmentation": {"counts": counts}},
            {"image_id": 1, "category_id": 1, "iscrowd": 0, "area": 1, "segmentation": box(0, 0, 1, 1)},
        ],
    }
    file = tmp_path / "instances_train2014.json"
    file.write_text(json.dumps(facts))
    out = tmp_path / "out"
    arguments = ("lists", "coco-voc", tmp_path / "coco", "--annotations", file, "--min-pixels", 20, "-o", out)
    result = deeplab(*arguments)
    assert result.exit_code == 0, result.output
    found = truth(out, "train2014")
    assert set(found) == {"p"}
    labels = found["p"]
    assert labels[4, 4] == 15
    assert labels[1, 1] == 7
    assert labels[11, 12] == 0
    assert (labels[:, 15:] == 255).all()
    assert (labels == 15).sum() == 25
    assert (labels == 7).sum() == 75


def test_coco_stuff_10k_counts_from_one(tmp_path, deeplab):
    root = tmp_path / "stuff"
    labels = RANDOM.integers(0, 183, SIZE).astype(np.uint8)
    (root / "annotations").mkdir(parents=True)
    savemat(root / "annotations" / "a.mat", {"S": labels})
    picture(root / "images" / "a.jpg")
    ids(root / "imageLists/train.txt", "a")
    ids(root / "imageLists/test.txt", "")
    out = tmp_path / "out"
    result = deeplab("lists", "coco-stuff", root, "-o", out)
    assert result.exit_code == 0, result.output
    expected = np.where(labels == 0, 255, labels.astype(int) - 1)
    np.testing.assert_array_equal(truth(out, "train")["a"], expected)


def test_coco_stuff_164k_pixel_maps_are_taken_as_they_are(tmp_path, deeplab):
    root = tmp_path / "stuff"
    labels = RANDOM.choice(np.array([0, 5, 181, 255], np.uint8), SIZE)
    picture(root / "val2017" / "a.jpg")
    (root / "stuffthingmaps/val2017").mkdir(parents=True)
    Image.fromarray(labels).save(root / "stuffthingmaps/val2017/a.png")
    assert deeplab("lists", "coco-stuff", root, "-o", tmp_path / "out").exit_code == 0
    np.testing.assert_array_equal(truth(tmp_path / "out", "val2017")["a"], labels)


def test_what_is_no_release_is_refused_and_leaves_nothing(voc, refused, tmp_path):
    root, sbd, _ = voc
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
    assert not [each for each in tmp_path.iterdir() if each.name.startswith(".")]
