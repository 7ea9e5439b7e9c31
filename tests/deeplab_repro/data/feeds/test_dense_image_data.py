"""DenseImageData, SegNet's source (golden/siblings/SEMANTICS.md, 5)."""

import cv2
import numpy as np
import pytest

from deeplab_repro.data.feeds.caffe_rng import CaffeRng
from deeplab_repro.data.feeds.feeds import open_feeds
from prototxt_import import CaffeFormatError, parse_net, schema


@pytest.fixture
def dense(pictures):
    """dense("data fields", "transform fields") -> a net over `pictures`."""

    def net(data="", transform="", phase="TEST"):
        text = (
            'layer { name: "d" type: "DenseImageData" top: "data" top: "label" dense_image_data_param '
            f'{{ source: "list.txt" {data} }} transform_param {{ {transform} }} }}'
        )
        return parse_net(text, str(pictures.folder / "net.prototxt"), phase=phase)

    return net


def test_images_and_label_maps_come_in_pairs(pictures, dense):
    with open_feeds(dense("", "scale: 0.5 mean_value: 4"), 1) as feeds:
        for image, label in zip(pictures.images, pictures.labels, strict=True):
            batch = feeds.next()
            assert set(batch) == {"data", "label"}
            expected = (image.transpose(2, 0, 1) - np.float32(4)) * np.float32(0.5)
            np.testing.assert_array_equal(batch["data"][0], expected)
            np.testing.assert_array_equal(batch["label"][0, 0], label)


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_mirror_and_crop_are_drawn_in_every_phase_the_crop_of_the_mirrored_image(pictures, dense, phase):
    with open_feeds(dense("mirror: true crop_height: 9 crop_width: 11", phase=phase), 6) as feeds:
        batches = [feeds.next() for _ in range(10)]
    draws = CaffeRng(CaffeRng(6).next())  # the reading thread's seed
    mirrored = set()
    for i, batch in enumerate(batches):
        image, label = pictures.images[i % 5], pictures.labels[i % 5]
        mirror = draws.next() % 2
        if mirror:
            image, label = image[:, ::-1], label[:, ::-1]
        height, width = label.shape
        row, column = draws.next() % (height - 8), draws.next() % (width - 10)
        window = slice(row, row + 9), slice(column, column + 11)
        np.testing.assert_array_equal(batch["data"][0].permute(1, 2, 0), image[window])
        np.testing.assert_array_equal(batch["label"][0, 0], label[window])
        mirrored.add(mirror)
    assert mirrored == {0, 1}


def test_labels_are_resized_to_the_nearest_pixel(pictures, dense):
    with open_feeds(dense("new_height: 24 new_width: 30 batch_size: 5"), 1) as feeds:
        batch = feeds.next()
    for got, image, given, label in zip(batch["data"], pictures.images, batch["label"], pictures.labels, strict=True):
        np.testing.assert_array_equal(got.permute(1, 2, 0), cv2.resize(image, (30, 24)))
        np.testing.assert_array_equal(given[0], cv2.resize(label, (30, 24), interpolation=cv2.INTER_NEAREST))


def test_the_mean_image_is_the_cut_part_s(pictures, dense):
    mean = np.arange(3 * 9 * 11, dtype=np.float32).reshape(3, 9, 11)
    blob = schema.message("bvlc", "BlobProto")(num=1, channels=3, height=9, width=11, data=mean.flatten().tolist())
    (pictures.folder / "m.binaryproto").write_bytes(blob.SerializeToString())
    cut = "mirror: true crop_height: 9 crop_width: 11 batch_size: 5"
    with open_feeds(dense(cut), 6) as plain, open_feeds(dense(cut, 'mean_file: "m.binaryproto"'), 6) as less:
        np.testing.assert_array_equal(plain.next()["data"].numpy() - mean, less.next()["data"])


def test_what_the_fork_refuses_is_refused(pictures, dense):
    for transform in ("mirror: true", "crop_size: 9"):
        with pytest.raises(CaffeFormatError, match="would not reach the label map"):
            dense("", transform)
    with (
        open_feeds(dense("crop_height: 30 crop_width: 30 batch_size: 5"), 1) as feeds,
        pytest.raises(ValueError, match=r"list.txt:4: .*20 x 70 pixels are fewer than the crop's 30 x 30"),
    ):
        feeds.next()
