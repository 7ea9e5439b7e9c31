import numpy as np
import pytest
from PIL import Image

from deeplab_repro.files.palette import colorize, overlay, save_label_png, voc_palette


def test_voc_palette_has_the_published_colours():
    palette = voc_palette()
    assert palette.shape == (256, 3)
    assert palette.dtype == np.uint8
    expected = {
        0: (0, 0, 0),
        1: (128, 0, 0),
        2: (0, 128, 0),
        15: (192, 128, 128),
        20: (0, 64, 128),
        255: (224, 224, 192),
    }
    assert {index: tuple(palette[index].tolist()) for index in expected} == expected
    assert len(np.unique(palette, axis=0)) == 256


def test_palette_size_is_checked():
    assert voc_palette(0).shape == (0, 3)
    with pytest.raises(ValueError, match=r"0\.\.256"):
        voc_palette(257)


def test_label_png_keeps_indices_and_colours(tmp_path):
    labels = np.array([[0, 1, 255], [20, 2, 7]], np.int64)
    path = tmp_path / "labels.png"
    save_label_png(labels, path)
    with Image.open(path) as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image), labels)
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), voc_palette()[labels])


def test_own_palette_is_completed_by_the_voc_colours():
    own = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)
    coloured = colorize(np.array([[0, 1, 2, 255]], np.uint8), own)
    assert coloured.tolist() == [[[1, 2, 3], [4, 5, 6], [0, 128, 0], [224, 224, 192]]]


def test_overlay_mixes_image_and_colours():
    image = np.full((1, 2, 3), 100, np.uint8)
    labels = np.array([[0, 1]], np.uint8)
    assert overlay(image, labels, 0.25).tolist() == [[[75, 75, 75], [107, 75, 75]]]
    np.testing.assert_array_equal(overlay(image, labels, 0.0), image)
    np.testing.assert_array_equal(overlay(image, labels, 1.0), colorize(labels))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((2, 2, 1), np.uint8), "must be"),
        (np.zeros((2, 2)), "integers"),
        (np.full((1, 1), 256), r"0\.\.255"),
        (np.full((1, 1), -1), r"0\.\.255"),
    ],
)
def test_arrays_that_are_no_label_map_are_refused(labels, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        save_label_png(labels, tmp_path / "x.png")
    assert list(tmp_path.iterdir()) == []


def test_other_sizes_and_opacities_are_refused():
    with pytest.raises(ValueError, match="differ in size"):
        overlay(np.zeros((2, 2, 3), np.uint8), np.zeros((2, 3), np.uint8))
    with pytest.raises(ValueError, match="alpha"):
        overlay(np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1), np.uint8), 1.5)
    with pytest.raises(ValueError, match="palette"):
        colorize(np.zeros((1, 1), np.uint8), np.zeros((300, 3)))
