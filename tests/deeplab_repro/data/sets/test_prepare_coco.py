"""COCO's objects and stuff, made ready."""

import json

import numpy as np
from PIL import Image
from scipy.io import savemat

from tests.deeplab_repro.data.sets.releases import RANDOM, SIZE, ids, picture, truth


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
    maps = truth(out, "train2014")
    assert set(maps) == {"p"}
    labels = maps["p"]
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
