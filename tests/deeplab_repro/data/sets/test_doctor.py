"""Faults of data sets, told from their files."""

import numpy as np
import pytest
from PIL import Image

from deeplab_repro.data.sets.datasets import open_dataset
from deeplab_repro.data.sets.doctor import diagnose
from deeplab_repro.files.images import read_image, turned
from tests.deeplab_repro.data.sets.faulty_sets import NAMES, TO_VOC, every, label, labels_of, plant, scene


def test_too_few_classes_are_no_palette_read_as_grey(voc_scenes):
    """Of VOC's colours 34 is a grey level (class 12), of a set of 40 classes a label."""
    every(voc_scenes, lambda labels, path: Image.fromarray(np.where(labels == 2, 25, labels)).save(path))
    Image.fromarray(np.repeat(np.uint8([[0, 34]]), 60, 0)).save(label(voc_scenes, 2))
    assert [fault.kind for fault in diagnose([open_dataset(voc_scenes, "train")]).faults] == ["size", "beyond classes"]


def test_void_lines_written_as_zero_are_mended_between_objects(voc_scenes):
    plant("void is 0", voc_scenes)
    assert diagnose([open_dataset(voc_scenes, "train")]).has("void is 0")


def test_objects_that_touch_are_no_sign_of_lost_void(voc_scenes):
    for i in range(len(NAMES)):
        Image.fromarray(TO_VOC[scene(i)[1]]).save(label(voc_scenes, i))
    diagnosis = diagnose([open_dataset(voc_scenes, "train")])
    assert [fault.kind for fault in diagnosis.faults] == ["no void"]
    assert diagnosis.healthy


@pytest.mark.parametrize("orientation", range(2, 9))
def test_labels_that_fit_turned_photos_are_noted_and_those_that_do_not_are_turned(voc_scenes, orientation):
    """Square ones, too, whose size tells nothing."""
    for side in (slice(None), slice(0, 60)):
        pixels, labels = scene(0)[0][:, side], labels_of(0)[:, side]
        path = voc_scenes / "JPEGImages" / "s4.png"
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(pixels).save(path, "JPEG", quality=95, exif=exif)
        np.testing.assert_allclose(read_image(path).shape, turned(pixels, orientation).shape)
        assert np.abs(read_image(path).astype(int) - turned(pixels, orientation)).mean() < 20
        for stored, kind in ((labels, "turned"), (turned(labels, orientation), "EXIF")):
            Image.fromarray(stored).save(label(voc_scenes, 4))
            diagnosis = diagnose([open_dataset(voc_scenes, "val")])
            assert [fault.kind for fault in diagnosis.faults] == [kind]
