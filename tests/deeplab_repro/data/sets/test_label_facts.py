"""What doctor sees in a label map is what the readers give."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from deeplab_repro.data.sets.datasets import Sample, SegmentationDataset
from deeplab_repro.data.sets.label_facts import (
    class_colours,
    class_greys,
    examine,
    grey_bits,
    labels_of_colours,
    parting_lines,
    read_raw,
    undo_stretch,
)
from deeplab_repro.files.images import read_label_map
from deeplab_repro.files.palette import colorize

GREY, PALETTE = 0, 3
VOC = SegmentationDataset("voc", (), tuple(map(str, range(21))))


def write_png(path, values, bits, kind=GREY):
    """A PNG of `bits` a pixel; Pillow writes no grey ones of 2 or 4."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width = values.shape
    rows = b""
    for row in values:
        text = "".join(f"{value:0{bits}b}" for value in row)
        text += "0" * (-len(text) % 8)
        rows += b"\0" + int(text, 2).to_bytes(len(text) // 8, "big")
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    palette = chunk(b"PLTE", bytes(range(3 * 2 ** min(bits, 4)))) if kind == PALETTE else b""
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + palette + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


@pytest.fixture
def file(tmp_path):
    return tmp_path / "labels.png"


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_grey_maps_of_few_bits_are_spread_over_a_byte_in_every_reader(file, bits):
    """As OpenCV does it, and so Caffe: the largest number becomes 255, which is void."""
    values = np.arange(15).reshape(3, 5) % 2**bits
    write_png(file, values, bits)
    expected = values * (255 // (2**bits - 1))
    np.testing.assert_array_equal(cv2.imread(str(file), cv2.IMREAD_UNCHANGED), expected)
    np.testing.assert_array_equal(read_label_map(file), expected)
    kind, seen = read_raw(file)
    assert kind == "grey"
    np.testing.assert_array_equal(seen, expected)
    assert grey_bits(file) == bits
    np.testing.assert_array_equal(undo_stretch(file, seen), values)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_palettes_of_few_bits_keep_their_indices(file, bits):
    values = np.arange(15).reshape(3, 5) % 2**bits
    write_png(file, values, bits, PALETTE)
    kind, seen = read_raw(file)
    assert kind == "palette"
    np.testing.assert_array_equal(seen, values)
    np.testing.assert_array_equal(read_label_map(file), values)
    assert grey_bits(file) == 8


def test_kinds_of_label_pictures(file):
    labels = np.array([[0, 1], [7, 255]], np.uint8)
    for picture, kind, pixels in (
        (Image.fromarray(labels), "grey", labels),
        (Image.fromarray(np.dstack([labels] * 3)), "grey-rgb", labels),
        (Image.fromarray(colorize(labels)), "colour", colorize(labels)),
        (Image.fromarray(labels.astype(np.uint16) * 257), "wide", labels.astype(np.uint16) * 257),
    ):
        picture.save(file)
        seen = read_raw(file)
        assert seen[0] == kind
        np.testing.assert_array_equal(seen[1], pixels)


def test_what_is_no_picture_is_told(file):
    file.write_bytes(b"")
    with pytest.raises(ValueError, match="no picture that can be read"):
        read_raw(file)
    with pytest.raises(FileNotFoundError):
        read_raw(file.with_name("none.png"))
    Image.fromarray(np.zeros((2, 2), np.float32)).save(file.with_suffix(".tiff"))
    with pytest.raises(ValueError, match="holds float32 numbers, no labels"):
        read_raw(file.with_suffix(".tiff"))


def test_colours_and_greys_lead_back_to_labels():
    colours = class_colours(VOC)
    assert colours[0, 0, 0] == 0
    assert colours[224, 224, 192] == 255
    greys = class_greys(VOC)
    assert {level: greys[level] for level in (75, 147, 220, 38, 113)} == {75: 2, 147: 15, 220: 255, 38: -1, 113: -1}
    labels = np.array([[0, 20, 255]], np.uint8)
    picture = colorize(labels)
    picture[0, 1] = 3, 2, 1
    assert labels_of_colours(picture, colours).tolist() == [[0, -1, 255]]


def test_lines_of_zero_part_two_objects_alone():
    labels = np.zeros((40, 60), np.uint8)
    labels[:, 10:29], labels[:, 32:50] = 1, 2
    lines = parting_lines(labels)
    assert lines[20, 29:32].all()
    assert not lines[:, :10].any()
    assert not lines[:, 50:].any()
    labels[:, 32:50] = 1
    assert not parting_lines(labels).any()


def test_facts_of_files_that_are_missing_or_damaged(tmp_path):
    (tmp_path / "i.png").write_bytes(b"no picture")
    facts = examine(VOC, Sample("s", tmp_path / "i.png", tmp_path / "none.png"))
    assert "no image that can be read" in facts.image_error
    assert facts.label_error == "No such file or directory"
    assert facts.digest
    assert facts.image_size is facts.label_size is None
