"""Reading and writing of images, good and bad."""

import os
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from deeplab_repro.files.images import (
    exif_orientation,
    find_images,
    read_bgr,
    read_image,
    read_label_map,
    read_labels,
    turned,
    write_image,
)
from deeplab_repro.files.palette import save_label_png
from tests.deeplab_repro.files.turned_photos import write_turned


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (17, 23, 3), np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".ppm", ".bmp", ".tif"])
def test_lossless_formats_give_back_the_same_rgb_pixels(tmp_path, picture, suffix):
    write_image(picture, tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}"), picture)


def test_channels_are_red_green_blue(tmp_path):
    (tmp_path / "a.ppm").write_bytes(b"P6 1 1 255\n\xff\x80\x00")
    assert read_image(tmp_path / "a.ppm").tolist() == [[[255, 128, 0]]]


def test_text_ppm_is_read(tmp_path):
    (tmp_path / "a.ppm").write_text("P3\n2 1\n255\n1 2 3  4 5 6\n")
    assert read_image(tmp_path / "a.ppm").tolist() == [[[1, 2, 3], [4, 5, 6]]]


def test_grey_becomes_three_equal_channels(tmp_path):
    grey = np.arange(20, dtype=np.uint8).reshape(4, 5)
    write_image(grey, tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.stack([grey] * 3, -1))


def test_alpha_is_dropped(tmp_path, picture):
    cv2.imwrite(os.fspath(tmp_path / "a.png"), np.dstack([picture[..., ::-1], np.full((17, 23), 9, np.uint8)]))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), picture)


@pytest.mark.parametrize(
    "content", [b"", b"not an image\n", b"\x89PNG\r\n\x1a\n" + b"\0" * 40, b"P6 9999999 9999999 255\n"]
)
def test_what_is_no_image_is_refused_by_name(tmp_path, content, capfd):
    (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.jpg"):
        read_image(tmp_path / "x.jpg")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
def test_an_image_cut_short_is_refused(tmp_path, picture, suffix, share, capfd):
    whole = cv2.imencode(suffix, np.repeat(np.repeat(picture, 8, 0), 8, 1))[1].tobytes()
    (tmp_path / f"a{suffix}").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ValueError, match="cut short"):
        read_image(tmp_path / f"a{suffix}")
    assert capfd.readouterr().err == ""


def test_a_missing_image_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "none.png")


def test_unfit_arrays_and_suffixes_are_not_written(tmp_path, picture):
    with pytest.raises(ValueError, match=r"uint8 \[H, W, 3\]"):
        write_image(picture.astype(np.float32), tmp_path / "a.png")
    with pytest.raises(ValueError, match="unknown image format"):
        write_image(picture, tmp_path / "a.gif")
    with pytest.raises(FileNotFoundError, match="none"):
        write_image(picture, tmp_path / "none" / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_folders_give_their_images_sorted(tmp_path, picture):
    for name in ("b.png", "a.PPM", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "deeper.png").mkdir()
    assert [path.name for path in find_images([tmp_path, tmp_path / "b.png"])] == ["a.PPM", "b.png", "b.png"]
    with pytest.raises(ValueError, match="no images"):
        find_images([tmp_path / "deeper.png"])
    with pytest.raises(FileNotFoundError, match="gone"):
        find_images([tmp_path / "gone"])


def test_labels_are_the_indices_of_a_palette_not_its_colours(tmp_path):
    labels = np.array([[0, 15], [255, 3]], np.uint8)
    save_label_png(labels, tmp_path / "a.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), labels)
    write_image(labels, tmp_path / "grey.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "grey.png"), labels)


def test_a_picture_that_would_fill_the_memory_is_refused(tmp_path):
    save_label_png(np.zeros((2, 2), np.uint8), tmp_path / "huge.png")
    content = bytearray((tmp_path / "huge.png").read_bytes())
    content[16:24] = struct.pack(">II", 60000, 60000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "huge.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"huge\.png: a damaged picture: Image size"):
        read_labels(tmp_path / "huge.png")


def test_pictures_that_are_no_labels_are_refused(tmp_path, picture):
    write_image(picture, tmp_path / "colour.png")
    save_label_png(np.zeros((30, 40), np.uint8), tmp_path / "good.png")
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:-30])
    for name in ("colour", "text", "cut"):
        with pytest.raises(ValueError, match=f"{name}.png"):
            read_labels(tmp_path / f"{name}.png")
    with pytest.raises(FileNotFoundError):
        read_labels(tmp_path / "none.png")


def test_label_maps_are_indices_of_a_palette_and_values_of_grey(tmp_path):
    labels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    save_label_png(labels, tmp_path / "palette.png")
    write_image(labels, tmp_path / "grey.png")
    write_image(np.repeat(labels[..., None], 3, 2), tmp_path / "equal.png")
    for name in ("palette", "grey", "equal"):
        np.testing.assert_array_equal(read_label_map(tmp_path / f"{name}.png"), labels)
    write_image(np.random.default_rng(0).integers(0, 256, (2, 3, 3), np.uint8), tmp_path / "colours.png")
    with pytest.raises(ValueError, match=r"colours\.png: a colour picture, no labels"):
        read_label_map(tmp_path / "colours.png")
    cv2.imwrite(str(tmp_path / "deep.png"), labels.astype(np.uint16))
    with pytest.raises(ValueError, match=r"deep\.png: labels are 8-bit pictures, this one holds uint16"):
        read_label_map(tmp_path / "deep.png")


@pytest.mark.parametrize("orientation", range(2, 9))
def test_photographs_are_turned_by_exif_in_colour_and_in_grey_and_labels_are_not(tmp_path, orientation):
    pixels = np.random.default_rng(orientation).integers(0, 256, (7, 11, 3), np.uint8)
    shown = write_turned(pixels, orientation, tmp_path / "a.jpg")
    assert exif_orientation(tmp_path / "a.jpg") == orientation
    assert shown.shape == ((7, 11, 3) if orientation < 5 else (11, 7, 3))
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg"), shown)
    stored = cv2.imread(str(tmp_path / "a.jpg"), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)
    np.testing.assert_array_equal(read_bgr(tmp_path / "a.jpg", cv2.IMREAD_GRAYSCALE), turned(stored, orientation))
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels[..., 0]).save(tmp_path / "labels.png", exif=exif)
    np.testing.assert_array_equal(read_label_map(tmp_path / "labels.png"), pixels[..., 0])
    np.testing.assert_array_equal(read_labels(tmp_path / "labels.png"), pixels[..., 0])
