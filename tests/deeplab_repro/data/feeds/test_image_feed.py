"""What image layers make of an image, fact by fact; the recorded batches are in test_feeds."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from deeplab_repro.data.feeds.caffe_rng import CaffeRng
from deeplab_repro.data.feeds.feeds import open_feeds
from deeplab_repro.files.arrays import write_mat
from prototxt_import import CaffeFormatError, parse_net, read_net

MEAN = "mean_value: 104 mean_value: 117 mean_value: 123"


def batches(spec, count, seed=1):
    with open_feeds(spec, seed) as feeds:
        return [feeds.next() for _ in range(count)]


def test_mirror_draws_in_the_test_phase_too(pictures):
    seen = set()
    for i, batch in enumerate(batches(pictures.net("mirror: true", "label_type: PIXEL", "TEST"), 20)):
        label = pictures.labels[i % 5]
        ours = batch["label"][0, 0].numpy()
        seen.add(bool((ours == label[:, ::-1]).all()))
        assert (ours == (label[:, ::-1] if (ours == label[:, ::-1]).all() else label)).all()
    assert seen == {False, True}


def test_root_folder_stands_before_both_names(pictures):
    inside = pictures.folder / "sub"
    inside.mkdir()
    for name in ("im0.png", "lab0.png"):
        (pictures.folder / name).rename(inside / f"a{name}")
    (pictures.folder / "list.txt").write_text("im0.png lab0.png\n")
    spec = pictures.net("", 'label_type: PIXEL root_folder: "sub/a"', "TEST")
    assert (batches(spec, 1)[0]["label"][0, 0].numpy() == pictures.labels[0]).all()


def test_images_are_blue_green_red_or_grey(pictures):
    coloured = batches(pictures.net(MEAN, "label_type: PIXEL", "TEST"), 1)[0]["data"][0]
    np.testing.assert_array_equal(coloured.permute(1, 2, 0), pictures.images[0].astype(np.float32) - [104, 117, 123])
    grey = batches(pictures.net("mean_value: 9", "label_type: PIXEL is_color: false", "TEST"), 1)[0]["data"][0]
    expected = cv2.imread(str(pictures.folder / "im0.png"), cv2.IMREAD_GRAYSCALE).astype(np.float32) - 9
    np.testing.assert_array_equal(grey, expected[None])


def test_third_top_is_the_size_read_before_scaling_and_held_at_the_crop(pictures):
    pictures.net(f"{MEAN} crop_size: 45 scale_factors: 0.5", "label_type: PIXEL", "TRAIN")
    path = pictures.folder / "net.prototxt"
    path.write_text(path.read_text().replace('top: "label"', 'top: "label" top: "dim"'))
    sizes = [batch["dim"].flatten().tolist() for batch in batches(read_net(path, phase="TRAIN"), 5)]
    assert sizes == [[min(45, side) for side in label.shape] for label in pictures.labels]


def test_label_type_is_image_unless_given(pictures):
    assert pictures.net("", "").layers[0].options.label_type == "IMAGE"


@pytest.mark.parametrize(
    ("transform", "phase"),
    [(f"{MEAN} crop_height: 20 crop_width: 21", "TRAIN"), (f"{MEAN} crop_size: 21 scale_factors: 0.5", "TEST")],
)
def test_draws_that_the_v2_fork_has_no_generator_for_are_made(pictures, transform, phase):
    """There they abort unless mirror is true."""
    for batch in batches(pictures.net(transform, "label_type: PIXEL", phase), 2):
        assert batch["data"].shape[-1] == 21


def test_rand_skip_passes_over_a_drawn_number_of_images(pictures):
    for seed in range(4):
        first = batches(pictures.net("", "label_type: PIXEL rand_skip: 3", "TEST"), 1, seed)[0]["label"][0, 0]
        np.testing.assert_array_equal(first, pictures.labels[CaffeRng(seed).next() % 3])


def test_image_data_pads_nothing_and_takes_batches_of_one_size(pictures):
    (pictures.folder / "list.txt").write_text("im0.png 7\nim1.png 3\n")
    with pytest.raises(ValueError, match=r"list.txt:1: .*40 x 50 pixels are fewer than the crop's 41 x 41"):
        batches(pictures.net("crop_size: 41", kind="ImageData", phase="TEST"), 1)
    with pytest.raises(ValueError, match=r"list.txt:2: 33 x 64 pixels in a batch of 40 x 50"):
        batches(pictures.net("", "batch_size: 2", kind="ImageData", phase="TEST"), 1)


def test_means_are_one_or_one_a_channel(pictures):
    with pytest.raises(CaffeFormatError, match="mean_value must be given once, or 3 times"):
        batches(pictures.net("mean_value: 1 mean_value: 2", "label_type: PIXEL", "TEST"), 1)


def test_mat_files_without_a_list_are_numbered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values = np.arange(48, dtype=np.float32).reshape(2, 1, 2, 3, 4)
    for i, value in enumerate(values):
        write_mat(value, tmp_path / f"a_iter_{i}_blob_0.mat")
    text = 'layer { name: "m" type: "MatRead" top: "x" mat_read_param { prefix: "a_" batch_size: 2 } }'
    got = batches(parse_net(text, str(tmp_path / "net.prototxt")), 1)[0]["x"]
    np.testing.assert_array_equal(got.reshape(2, 2, 3, 4), values[:, 0])


def test_without_a_seed_the_system_gives_one(pictures):
    spec = pictures.net("", "label_type: PIXEL shuffle: true")
    with open_feeds(spec) as first, open_feeds(spec) as second:
        assert first.rng.draw(4).tolist() != second.rng.draw(4).tolist()
