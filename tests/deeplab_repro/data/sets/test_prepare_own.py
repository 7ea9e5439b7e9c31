"""A folder of one's own, made ready."""

import json

import numpy as np
import pytest
from PIL import Image

from deeplab_repro.data.sets.datasets import open_dataset
from deeplab_repro.data.sets.prepare import write_prepared
from deeplab_repro.data.sets.prepare_own import voc_layout
from deeplab_repro.files.images import write_image
from deeplab_repro.files.palette import colorize, save_label_png

LABELS = np.array([[0, 1, 2], [2, 255, 0]], np.uint8)


def make(root, names, images="images", labels="labels", write=save_label_png):
    """Photographs and label maps of these names."""
    for name in names:
        for folder in (images, labels):
            (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(np.zeros((2, 3, 3), np.uint8), root / images / f"{name}.png")
        write(LABELS, root / labels / f"{name}.png")
    return root


def test_every_tenth_image_is_val_where_no_list_tells(tmp_path):
    names = [f"p{index:02}" for index in range(20)]
    make(tmp_path, names)
    write_image(np.zeros((2, 3, 3), np.uint8), tmp_path / "images" / "alone.png")
    source = voc_layout(tmp_path)
    assert [image.name for image in source.images if image.splits == ("val",)] == ["p09", "p19"]
    assert source.class_names == ("0", "1", "2")
    assert any("alone.png" in note for note in source.notes)
    done = write_prepared(source, tmp_path / "own")
    assert done.counts == {"train": 18, "val": 2}
    assert (tmp_path / "own/list/val.txt").read_text().split() == [
        "/JPEGImages/p09.png", "/SegmentationClass/p09.png", "/JPEGImages/p19.png", "/SegmentationClass/p19.png",
    ]  # fmt: skip
    dataset = open_dataset(tmp_path / "own")
    np.testing.assert_array_equal(dataset.truth(dataset.samples[0]), LABELS)


def test_lists_of_the_folder_stay_and_so_do_its_classes(tmp_path):
    make(tmp_path, "abc", "JPEGImages", "SegmentationClass")
    (tmp_path / "ImageSets/Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets/Segmentation/train.txt").write_text("a\nb\n")
    (tmp_path / "ImageSets/Segmentation/val.txt").write_text("b\n")
    (tmp_path / "classes.json").write_text(json.dumps({"classes": ["x", "y", "z"]}))
    source = voc_layout(tmp_path)
    assert {image.name: image.splits for image in source.images} == {"a": ("train",), "b": ("train", "val")}
    assert source.class_names == ("x", "y", "z")
    assert voc_layout(tmp_path, 5).class_names == ("0", "1", "2", "3", "4")


def test_folders_train_and_val_are_splits(tmp_path):
    make(tmp_path, ("train/a", "val/b"))
    assert [(image.name, image.splits) for image in voc_layout(tmp_path).images] == [("a", ("train",)), ("b", ("val",))]
    make(tmp_path, ("val/a",))
    with pytest.raises(ValueError, match="have one name"):
        voc_layout(tmp_path)


def test_labels_may_be_colours_or_of_few_bits(tmp_path):
    make(tmp_path / "colours", "a", write=lambda labels, path: write_image(colorize(labels), path))
    make(tmp_path / "bits", "a", write=lambda labels, path: Image.fromarray(labels == 1).save(path))
    for name, wanted in (("colours", LABELS), ("bits", LABELS == 1)):
        (image,) = voc_layout(tmp_path / name).images
        np.testing.assert_array_equal(image.labels(), wanted)


def test_what_is_no_such_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no folder JPEGImages"):
        voc_layout(tmp_path)
    make(tmp_path, "a")
    (tmp_path / "labels" / "a.png").rename(tmp_path / "labels" / "b.png")
    with pytest.raises(ValueError, match="no image of images/ has a label map"):
        voc_layout(tmp_path)
    (tmp_path / "labels" / "a.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"a\.png: no picture"):
        voc_layout(tmp_path)
    write_image(np.full((2, 3, 3), (1, 2, 3), np.uint8), tmp_path / "labels" / "a.png")
    with pytest.raises(ValueError, match=r"a\.png: a colour picture, and RGB \(1, 2, 3\) is no class's"):
        voc_layout(tmp_path)
    with pytest.raises(ValueError, match="--classes 999"):
        voc_layout(tmp_path, 999)
