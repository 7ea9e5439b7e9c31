"""Six drawn scenes as a data set, healthy or with a planted fault."""

import shutil
from functools import cache

import cv2
import numpy as np
import pytest
from PIL import Image

from deeplab_repro.data.scenes.scenes import draw_scene
from deeplab_repro.files.images import write_image
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
def voc_scenes(tmp_path):
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
    elif fault == "few bits":
        for i in range(2):
            Image.fromarray(labels_of(i) == 15).save(label(voc, i))
    elif fault == "palette order":
        renumbered(labels_of(0), label(voc, 0))
    elif fault == "turned":
        for i in range(len(NAMES)):
            with_orientation(voc, i, 5 + i % 4)
    elif fault == "palette":
        every(voc, save_label_png)
    else:
        raise AssertionError(fault)
