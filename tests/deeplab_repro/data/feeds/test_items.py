"""One image of a data layer: turned, scaled, cut, and what is refused."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from deeplab_repro.data.feeds.feeds import open_feeds
from deeplab_repro.data.feeds.items import LoadJob, LoadOptions, load
from deeplab_repro.files.images import turned
from tests.deeplab_repro.files.turned_photos import write_turned

PLAIN = LoadOptions(size=None, crop=None, color=True, pads=True, label="PIXEL", ignore_label=255)


def changed(**options):
    return LoadOptions(**{**vars(PLAIN), **options})


@pytest.fixture
def job(tmp_path):
    """An image of 6 x 8 pixels and its labels."""
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 256, (6, 8, 3), np.uint8)).save(tmp_path / "i.png")
    Image.fromarray(random.integers(0, 21, (6, 8), np.uint8)).save(tmp_path / "l.png")
    return LoadJob(tmp_path / "i.png", tmp_path / "l.png", "list.txt:3")


@pytest.mark.parametrize("orientation", range(2, 9))
def test_training_sees_photographs_upright_beside_their_labels_as_stored(pictures, orientation):
    pixels, labels = pictures.images[0], pictures.labels[0]
    shown = write_turned(pixels, orientation, pictures.folder / "im0.png")
    spec = pictures.net("", "label_type: PIXEL", "TEST")
    for stored in (turned(labels, orientation), labels):
        cv2.imwrite(str(pictures.folder / "lab0.png"), stored)
        if stored.shape != shown.shape[:2]:
            # Labels of the pixels as they lie: the sides are exchanged, and both sizes are told.
            message = rf"list.txt:1: .*lab0.png: {stored.shape[0]} x {stored.shape[1]} pixels, its image .*im0.png has "
            message += rf"{shown.shape[0]} x {shown.shape[1]}"
            with open_feeds(spec) as feeds, pytest.raises(ValueError, match=message):
                feeds.next()
            continue
        # Half turns and mirrored ones keep the size: no file tells what the labels were drawn on; doctor looks.
        with open_feeds(spec) as feeds:
            batch = feeds.next()
        np.testing.assert_array_equal(batch["data"][0].permute(1, 2, 0), shown[..., ::-1].astype(np.float32))
        np.testing.assert_array_equal(batch["label"][0, 0], stored)


def test_grey_images_are_read_as_opencv_weighs_colours(job):
    item = load(changed(color=False), job)
    np.testing.assert_array_equal(item.image, cv2.imread(str(job.image), cv2.IMREAD_GRAYSCALE))
    assert item.label.shape == item.real == (6, 8)


def test_a_crop_takes_the_drawn_corner_or_the_centre_and_padding_is_left_to_the_batch(job):
    whole = load(PLAIN, job)
    assert (whole.window, whole.corner) == ((6, 8), (0, 0))
    item = load(changed(crop=(4, 5)), LoadJob(job.image, job.label, job.where, offsets=(7, 9)))
    assert item.corner == (7 % 3, 9 % 4)
    np.testing.assert_array_equal(item.image, whole.image[1:5, 1:6])
    np.testing.assert_array_equal(item.label, whole.label[1:5, 1:6])
    assert load(changed(crop=(4, 5)), job).corner == (1, 1)
    large = load(changed(crop=(9, 9)), job)
    assert (large.image.shape, large.window) == ((6, 8, 3), (9, 9))
    with pytest.raises(ValueError, match=r"list.txt:3: .*6 x 8 pixels are fewer than the crop's 9 x 9"):
        load(changed(crop=(9, 9), pads=False), job)


def test_scales_round_down_and_labels_keep_their_values(job):
    item = load(PLAIN, LoadJob(job.image, job.label, job.where, scale=1.3))
    assert (item.image.shape, item.label.shape, item.real) == ((7, 10, 3), (7, 10), (6, 8))
    assert set(np.unique(item.label)) <= set(np.unique(load(PLAIN, job).label))
    with pytest.raises(ValueError, match=r"list.txt:3: .*nothing is left of 6 x 8 pixels at scale 0.1"):
        load(PLAIN, LoadJob(job.image, job.label, job.where, scale=0.1))


def test_labels_may_be_a_number_or_the_ignored_one(job):
    for options, number, value in ((changed(label="IMAGE"), 7, 7), (changed(label="IMAGE"), 999, 255)):
        assert set(np.unique(load(options, LoadJob(job.image, number, job.where)).label)) == {value}
    assert set(np.unique(load(changed(label="NONE", ignore_label=9), job).label)) == {9}
    assert load(changed(label=None), job).label is None


def test_what_is_no_regular_file_is_refused_with_list_and_line(job, tmp_path):
    (tmp_path / "d").mkdir()
    with pytest.raises(ValueError, match=r"list.txt:3: .*d: no regular file"):
        load(PLAIN, LoadJob(tmp_path / "d", job.label, job.where))
    with pytest.raises(ValueError, match=r"list.txt:3: .*none.png: No such file"):
        load(PLAIN, LoadJob(Path(tmp_path / "none.png"), job.label, job.where))
