"""Pictures of segmented images, under names of their own."""

from pathlib import Path

import numpy as np
from PIL import Image

from deeplab_repro.files.images import read_image
from deeplab_repro.predict.pictures import distinct_names, save_pictures
from deeplab_repro.predict.segmenter import Segmenter


def test_names_are_stems_with_suffix_or_number_where_they_repeat():
    files = [Path(name) for name in ("a.jpg", "b/a.PNG", "c/a.png", "d/a.png", "a_png.bmp")]
    assert distinct_names(files) == ["a", "a_png", "a_png_2", "a_png_3", "a_png_bmp"]
    assert distinct_names([]) == []


def test_both_pictures_and_the_shares_of_classes(toy, photo, tmp_path):
    segmentation = Segmenter((toy.prototxt, toy.caffemodel), device="cpu")(photo.pixels)
    row = save_pictures(segmentation, tmp_path, "x", 0.25)
    assert (row["height"], row["width"]) == (37, 50)
    assert sorted(path.name for path in tmp_path.glob("x*")) == ["x.png", "x_overlay.png"]
    with Image.open(row["labels"]) as picture:
        assert picture.mode == "P"
        np.testing.assert_array_equal(np.asarray(picture), segmentation.labels)
    np.testing.assert_array_equal(read_image(row["overlay"])[:37, :50], segmentation.overlay(0.25))
    assert read_image(row["overlay"]).shape[0] > 37  # the legend
    counts = np.bincount(segmentation.labels.ravel())
    assert sorted(row["shares"].values()) == sorted(
        round(count / segmentation.labels.size, 6) for count in counts.tolist() if count
    )
