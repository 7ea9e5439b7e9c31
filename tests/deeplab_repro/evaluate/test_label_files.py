"""Label maps as benchmarks want them handed in."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_repro.data.sets.class_tables import CITYSCAPES, VOC, cityscapes_label_ids
from deeplab_repro.data.sets.datasets import Sample, SegmentationDataset
from deeplab_repro.evaluate.label_files import LabelFiles
from deeplab_repro.files.palette import voc_palette

SAMPLE = Sample("aachen_0", Path("a.png"), None)
DATASET = SegmentationDataset("voc", (SAMPLE,), VOC, "voc", "test")
LABELS = np.array([[0, 1], [18, 255]], np.uint8)


def test_plain_files_are_numbered_as_the_evaluation_counts_with_the_sets_colours(tmp_path):
    files = LabelFiles(tmp_path / "new" / "out", DATASET)
    files.write(SAMPLE, LABELS)
    assert files.file(SAMPLE) == tmp_path / "new" / "out" / "aachen_0.png"
    with Image.open(files.file(SAMPLE)) as picture:
        assert picture.mode == "P"
        np.testing.assert_array_equal(np.asarray(picture), LABELS)
        np.testing.assert_array_equal(np.array(picture.getpalette()[54:57]), voc_palette()[18])


def test_voc_files_lie_as_the_development_kit_has_them(tmp_path):
    files = LabelFiles(tmp_path, DATASET, "voc")
    assert files.file(SAMPLE) == tmp_path / "results/VOC2012/Segmentation/comp6_test_cls/aachen_0.png"
    assert files.folder.is_dir()


def test_cityscapes_files_are_grey_label_ids(tmp_path):
    city = SegmentationDataset("cityscapes", (SAMPLE,), CITYSCAPES, to_file=cityscapes_label_ids())
    files = LabelFiles(tmp_path, city, "cityscapes")
    files.write(SAMPLE, LABELS)
    with Image.open(tmp_path / "aachen_0_labelIds.png") as picture:
        assert picture.mode == "L"
        assert np.asarray(picture).tolist() == [[7, 8], [33, 0]]


def test_unfit_layouts_are_refused_before_a_folder_is_made(tmp_path):
    with pytest.raises(ValueError, match="layout 'kitti': must be one of plain, voc, cityscapes"):
        LabelFiles(tmp_path / "out", DATASET, "kitti")
    with pytest.raises(ValueError, match="needs a data set of Cityscapes' classes"):
        LabelFiles(tmp_path / "out", DATASET, "cityscapes")
    assert not (tmp_path / "out").exists()
