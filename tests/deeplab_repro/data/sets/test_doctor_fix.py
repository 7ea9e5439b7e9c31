"""A mended copy of a data set."""

import numpy as np
import pytest
from PIL import Image

from deeplab_repro.data.sets.datasets import open_dataset
from deeplab_repro.data.sets.doctor import diagnose
from tests.deeplab_repro.data.sets.faulty_sets import as_grey, label, labels_of, plant


@pytest.mark.parametrize("fault", ["palette as grey", "colours", "shifted", "palette"])
def test_the_mended_labels_are_the_true_ones(voc_scenes, deeplab, tmp_path, fault):
    plant(fault, voc_scenes)
    deeplab("doctor", voc_scenes, "--fix", tmp_path / "fixed")
    fixed = open_dataset(tmp_path / "fixed", "train")
    for i, sample in enumerate(fixed.samples):
        expected = labels_of(i)
        if fault == "shifted":
            expected[0, 0] = 20
        np.testing.assert_array_equal(fixed.truth(sample), expected)
        with Image.open(sample.label) as label:
            assert label.mode == "L"


def test_palettes_read_as_grey_among_good_maps_are_restored_alone(voc_scenes, deeplab, tmp_path):
    spoilt = (1, 4)
    for i in spoilt:
        as_grey(labels_of(i), label(voc_scenes, i))
    diagnosis = diagnose([open_dataset(voc_scenes, split) for split in ("train", "val")])
    assert {fault.kind: fault.files for fault in diagnosis.faults} == {
        "palette as grey": tuple(str(label(voc_scenes, i)) for i in spoilt)
    }
    assert deeplab("doctor", voc_scenes, "--fix", tmp_path / "fixed").exit_code == 1
    for split, members in (("train", range(4)), ("val", range(4, 6))):
        fixed = open_dataset(tmp_path / "fixed", split)
        for i, sample in zip(members, fixed.samples, strict=True):
            np.testing.assert_array_equal(fixed.truth(sample), labels_of(i))


def test_labels_beyond_the_classes_beside_palettes_read_as_grey_are_told_apart(voc_scenes, deeplab, tmp_path):
    as_grey(labels_of(0), label(voc_scenes, 0))
    plant("beyond classes", voc_scenes)
    diagnosis = diagnose([open_dataset(voc_scenes, "train")])
    assert {fault.kind: fault.files for fault in diagnosis.faults} == {
        "palette as grey": (str(label(voc_scenes, 0)),),
        "beyond classes": (str(label(voc_scenes, 1)),),
    }
    assert deeplab("doctor", voc_scenes, "--fix", tmp_path / "fixed").exit_code == 1
    fixed = open_dataset(tmp_path / "fixed", "train")
    np.testing.assert_array_equal(fixed.truth(fixed.samples[0]), labels_of(0))


def test_grey_levels_of_two_classes_become_void(voc_scenes, deeplab, tmp_path):
    """VOC's classes 1 and 16 are both 38 in grey."""
    labels = np.full((60, 80), 16, np.uint8)
    labels[:30] = 15
    as_grey(labels, label(voc_scenes, 0))
    every_other = [i for i in range(1, 6)]
    for i in every_other:
        as_grey(labels_of(i), label(voc_scenes, i))
    deeplab("doctor", voc_scenes, "--fix", tmp_path / "fixed")
    fixed = open_dataset(tmp_path / "fixed", "train")
    expected = np.where(labels == 16, 255, labels)
    np.testing.assert_array_equal(fixed.truth(fixed.samples[0]), expected)
