"""Planted faults are found, named and mended."""

import json
import shutil
from functools import cache

import cv2
import numpy as np
import pytest
from PIL import Image

from deeplab_repro.data.scenes.scenes import draw_scene
from deeplab_repro.data.sets.datasets import open_dataset
from deeplab_repro.data.sets.doctor import diagnose
from deeplab_repro.files.images import read_image, turned, write_image
from deeplab_repro.files.palette import colorize, save_label_png, voc_palette

NAMES = [f"s{i}" for i in range(6)]
# Labels of the scenes (0..9) as classes of VOC whose grey levels are their own.
TO_VOC = np.array([0, 2, 4, 5, 6, 7, 8, 9, 10, 15], np.uint8)


@cache
def scene(i):
    return draw_scene(i, 60, 80)


def labels_of(i):
    """A label map of VOC classes with void outlines three pixels wide."""
    labels = TO_VOC[scene(i)[1]]
    edges = cv2.morphologyEx(labels, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    return np.where(edges, 255, labels).astype(np.uint8)


@pytest.fixture
def voc(tmp_path):
    """Six scenes in VOC's layout as grey PNGs, four to train on."""
    root = tmp_path / "voc"
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / name).mkdir(parents=True)
    for i, name in enumerate(NAMES):
        write_image(scene(i)[0], root / "JPEGImages" / f"{name}.png")
        Image.fromarray(labels_of(i)).save(root / "SegmentationClass" / f"{name}.png")
    (root / "ImageSets/Segmentation/train.txt").write_text("\n".join(NAMES[:4]) + "\n")
    (root / "ImageSets/Segmentation/val.txt").write_text("\n".join(NAMES[4:]) + "\n")
    return root


def label(voc, i):
    return voc / "SegmentationClass" / f"{NAMES[i]}.png"


def every(voc, write):
    for i in range(len(NAMES)):
        write(labels_of(i), label(voc, i))


def as_grey(labels, path):
    cv2.imwrite(str(path), cv2.cvtColor(colorize(labels)[..., ::-1], cv2.COLOR_BGR2GRAY))


def colours(labels, path):
    write_image(colorize(labels), path)


def zero_void(labels, path):
    Image.fromarray(np.where(labels == 255, 0, labels)).save(path)


def one_to_n(labels, path):
    table = np.arange(256, dtype=np.uint8) + 1  # void becomes 0
    labels[0, 0] = 20
    Image.fromarray(table[labels]).save(path)


def other_size(labels, path):
    Image.fromarray(labels[::2, ::2]).save(path)


def jpeg(labels, path):
    cv2.imwrite(str(path.with_suffix(".jpg")), labels)
    path.with_suffix(".jpg").replace(path)


def renumbered(labels, path):
    """The picture as an editor saves it: its colours as they were, their numbers in order of appearance."""
    used = np.unique(labels)[::-1]
    numbers = np.zeros(256, np.uint8)
    numbers[used] = np.arange(len(used))
    picture = Image.fromarray(numbers[labels], mode="P")
    picture.putpalette(voc_palette()[used].tobytes())
    picture.save(path)


def with_orientation(voc, i, orientation):
    """The photo with its pixels as they are, and word that they are to be turned."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = voc / "JPEGImages" / f"{NAMES[i]}.png"
    Image.open(path).convert("RGB").save(path, "JPEG", quality=95, exif=exif)


def plant(fault, voc):
    lists = voc / "ImageSets" / "Segmentation"
    simple = {"palette as grey": as_grey, "colours": colours, "void is 0": zero_void}
    if fault in simple:
        every(voc, simple[fault])
    elif fault == "shifted":
        every(voc, one_to_n)
    elif fault == "beyond classes":
        cv2.imwrite(str(label(voc, 1)), np.where(labels_of(1) == 2, 77, labels_of(1)))
    elif fault == "size":
        other_size(labels_of(2), label(voc, 2))
    elif fault == "unknown colours":
        picture = colorize(labels_of(0))
        picture[:3] = (1, 2, 3)
        write_image(picture, label(voc, 0))
    elif fault == "lossy":
        jpeg(labels_of(0), label(voc, 0))
    elif fault == "missing label":
        label(voc, 3).unlink()
    elif fault == "missing image":
        (voc / "JPEGImages" / "s3.png").unlink()
    elif fault == "damaged image":
        (voc / "JPEGImages" / "s3.png").write_bytes(b"no picture")
    elif fault == "damaged label":
        label(voc, 0).write_bytes(label(voc, 0).read_bytes()[:80])
    elif fault == "overlap":
        shutil.copy(voc / "JPEGImages" / "s4.png", voc / "JPEGImages" / "s0.png")
        shutil.copy(label(voc, 4), label(voc, 0))
    elif fault == "listed twice":
        (lists / "train.txt").write_text("s0\ns1\ns0\n")
    elif fault == "16 bits":
        for i in range(2):
            Image.fromarray(labels_of(i).astype(np.uint16)).save(label(voc, i))
    elif fault == "palette order":
        renumbered(labels_of(0), label(voc, 0))
    elif fault == "turned":
        for i in range(len(NAMES)):
            with_orientation(voc, i, 5 + i % 4)
    elif fault == "palette":
        every(voc, save_label_png)
    else:
        raise AssertionError(fault)


UNMENDED = ["lossy", "missing label", "missing image", "damaged image", "damaged label", "overlap", "listed twice"]
FAULTS = [
    "16 bits",
    "palette order",
    "turned",
    "palette as grey",
    "colours",
    "void is 0",
    "shifted",
    "beyond classes",
    "size",
    "unknown colours",
    *UNMENDED,
]


def test_a_healthy_set_has_nothing_wrong(voc, deeplab):
    result = deeplab("doctor", voc, "--json", "-")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["faults"] == []


@pytest.mark.parametrize("fault", FAULTS)
def test_every_planted_fault_is_found_and_the_repaired_copy_is_healthy(voc, deeplab, tmp_path, fault):
    plant(fault, voc)
    before = {file: file.read_bytes() for file in voc.rglob("*") if file.is_file()}
    result = deeplab("doctor", voc, "--json", "-", "--fix", tmp_path / "fixed")
    assert result.exit_code == 1, result.output
    answer = json.loads(result.stdout)
    kind = {"shifted": "void is 0"}.get(fault, fault)
    found = {each["kind"] for each in answer["faults"] if not each["note"]}
    assert kind in found
    assert found <= {kind, "beyond classes"}  # a JPEG's values are such, too
    assert {file: file.read_bytes() for file in voc.rglob("*") if file.is_file()} == before
    assert deeplab("doctor", tmp_path / "fixed").exit_code == 0
    if fault in (
        "lossy",
        "missing label",
        "missing image",
        "damaged image",
        "damaged label",
        "overlap",
        "listed twice",
    ):
        assert len(answer["repaired"]["left_out"]) == 1
    else:
        assert answer["repaired"]["kept"] == {"train": 4, "val": 2}


@pytest.mark.parametrize("fault", ["palette as grey", "colours", "shifted", "palette"])
def test_the_mended_labels_are_the_true_ones(voc, deeplab, tmp_path, fault):
    plant(fault, voc)
    deeplab("doctor", voc, "--fix", tmp_path / "fixed")
    fixed = open_dataset(tmp_path / "fixed", "train")
    for i, sample in enumerate(fixed.samples):
        expected = labels_of(i)
        if fault == "shifted":
            expected[0, 0] = 20
        np.testing.assert_array_equal(fixed.truth(sample), expected)
        with Image.open(sample.label) as label:
            assert label.mode == "L"


def test_palettes_read_as_grey_among_good_maps_are_restored_alone(voc, deeplab, tmp_path):
    spoilt = (1, 4)
    for i in spoilt:
        as_grey(labels_of(i), label(voc, i))
    found = diagnose([open_dataset(voc, split) for split in ("train", "val")])
    assert {each.kind: each.files for each in found.faults} == {
        "palette as grey": tuple(str(label(voc, i)) for i in spoilt)
    }
    assert deeplab("doctor", voc, "--fix", tmp_path / "fixed").exit_code == 1
    for split, members in (("train", range(4)), ("val", range(4, 6))):
        fixed = open_dataset(tmp_path / "fixed", split)
        for i, sample in zip(members, fixed.samples, strict=True):
            np.testing.assert_array_equal(fixed.truth(sample), labels_of(i))


def test_labels_beyond_the_classes_beside_palettes_read_as_grey_are_told_apart(voc, deeplab, tmp_path):
    as_grey(labels_of(0), label(voc, 0))
    plant("beyond classes", voc)
    found = diagnose([open_dataset(voc, "train")])
    assert {each.kind: each.files for each in found.faults} == {
        "palette as grey": (str(label(voc, 0)),),
        "beyond classes": (str(label(voc, 1)),),
    }
    assert deeplab("doctor", voc, "--fix", tmp_path / "fixed").exit_code == 1
    fixed = open_dataset(tmp_path / "fixed", "train")
    np.testing.assert_array_equal(fixed.truth(fixed.samples[0]), labels_of(0))


def test_too_few_classes_are_no_palette_read_as_grey(voc):
    """Of VOC's colours 34 is a grey level (class 12), of a set of 40 classes a label."""
    every(voc, lambda labels, path: Image.fromarray(np.where(labels == 2, 25, labels)).save(path))
    Image.fromarray(np.repeat(np.uint8([[0, 34]]), 60, 0)).save(label(voc, 2))
    assert [each.kind for each in diagnose([open_dataset(voc, "train")]).faults] == ["size", "beyond classes"]


def test_grey_levels_of_two_classes_become_void(voc, deeplab, tmp_path):
    """VOC's classes 1 and 16 are both 38 in grey."""
    labels = np.full((60, 80), 16, np.uint8)
    labels[:30] = 15
    as_grey(labels, label(voc, 0))
    every_other = [i for i in range(1, 6)]
    for i in every_other:
        as_grey(labels_of(i), label(voc, i))
    deeplab("doctor", voc, "--fix", tmp_path / "fixed")
    fixed = open_dataset(tmp_path / "fixed", "train")
    expected = np.where(labels == 16, 255, labels)
    np.testing.assert_array_equal(fixed.truth(fixed.samples[0]), expected)


def test_palette_pngs_are_noted_but_no_fault(voc, deeplab):
    every(voc, save_label_png)
    result = deeplab("doctor", voc)
    assert result.exit_code == 0
    assert "note: palette" in result.stdout


def test_void_lines_written_as_zero_are_mended_between_objects(voc):
    plant("void is 0", voc)
    assert diagnose([open_dataset(voc, "train")]).has("void is 0")


def test_objects_that_touch_are_no_sign_of_lost_void(voc):
    for i in range(len(NAMES)):
        Image.fromarray(TO_VOC[scene(i)[1]]).save(label(voc, i))
    found = diagnose([open_dataset(voc, "train")])
    assert [fault.kind for fault in found.faults] == ["no void"]
    assert found.healthy


def test_list_files_and_their_class_count(voc, deeplab):
    for split in ("train", "val"):
        ids = (voc / "ImageSets/Segmentation" / f"{split}.txt").read_text().split()
        lines = [f"/JPEGImages/{name}.png /SegmentationClass/{name}.png\n" for name in ids]
        (voc / f"{split}.txt").write_text("".join(lines))
    lists = (voc / "train.txt", voc / "val.txt")
    assert deeplab("doctor", *lists, "--classes", 21).exit_code == 0
    assert deeplab("doctor", *lists, "--classes", 9).exit_code == 1


def test_images_of_one_name_in_other_folders_are_no_doubles(tmp_path, deeplab):
    for i, name in enumerate(("train/x", "train/y", "val/x")):
        (tmp_path / name).mkdir(parents=True)
        write_image(scene(i)[0], tmp_path / name / "1.png")
        Image.fromarray(labels_of(i)).save(tmp_path / name / "1_labels.png")
    (tmp_path / "train.txt").write_text("".join(f"train/{x}/1.png train/{x}/1_labels.png\n" for x in "xy"))
    (tmp_path / "val.txt").write_text("val/x/1.png val/x/1_labels.png\n")
    lists = (tmp_path / "train.txt", tmp_path / "val.txt")
    result = deeplab("doctor", *lists, "--classes", 21, "--json", "-", "--fix", tmp_path / "fixed")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["faults"] == []
    assert answer["repaired"]["kept"] == {"train": 2, "val": 1}


def test_what_cannot_be_examined_is_refused(voc, refused, tmp_path):
    refused("no data set", "doctor", tmp_path)
    refused("no such list", "doctor", voc, "--split", "other")
    refused("is there already", "doctor", voc, "--fix", voc)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_labels_that_fit_turned_photos_are_noted_and_those_that_do_not_are_turned(voc, orientation):
    """Square ones, too, whose size tells nothing."""
    for side in (slice(None), slice(0, 60)):
        pixels, labels = scene(0)[0][:, side], labels_of(0)[:, side]
        path = voc / "JPEGImages" / "s4.png"
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(pixels).save(path, "JPEG", quality=95, exif=exif)
        np.testing.assert_allclose(read_image(path).shape, turned(pixels, orientation).shape)
        assert np.abs(read_image(path).astype(int) - turned(pixels, orientation)).mean() < 20
        for stored, kind in ((labels, "turned"), (turned(labels, orientation), "EXIF")):
            Image.fromarray(stored).save(label(voc, 4))
            found = diagnose([open_dataset(voc, "val")])
            assert [fault.kind for fault in found.faults] == [kind]
