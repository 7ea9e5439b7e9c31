"""Any data set, written in VOC's layout."""

import numpy as np
import pytest

from deeplab_repro.data.sets.datasets import open_dataset
from deeplab_repro.data.sets.prepare import Source, SourceImage, read_ids, table_of, write_prepared
from deeplab_repro.files.images import read_image
from deeplab_repro.files.tiles import tile_windows
from tests.deeplab_repro.data.sets.releases import RANDOM, SIZE, picture


@pytest.fixture
def source(tmp_path):
    """Two images of three classes; the second is in a split without truth."""
    for name in "ab":
        picture(tmp_path / f"{name}.PNG")
    labels = RANDOM.integers(0, 3, SIZE, np.uint8)
    entries = (
        SourceImage("a", tmp_path / "a.PNG", lambda: labels, ("train", "trainval")),
        SourceImage("b", tmp_path / "b.PNG", None, ("test",)),
    )
    return Source(entries, ("x", "y", "z"), ((1, 2, 3), (4, 5, 6), (7, 8, 9)), ("as found",))


def test_images_are_linked_and_lists_name_both_files(source, tmp_path):
    steps = []
    prepared = write_prepared(source, tmp_path / "out", progress=lambda *step: steps.append(step))
    assert prepared.counts == {"train": 1, "trainval": 1, "test": 1}
    assert prepared.notes == ("as found",)
    assert steps == [(1, 2), (2, 2)]
    assert (tmp_path / "out/JPEGImages/a.png").resolve() == tmp_path / "a.PNG"
    assert (tmp_path / "out/list/train.txt").read_text() == "/JPEGImages/a.png /SegmentationClass/a.png\n"
    assert (tmp_path / "out/list/test.txt").read_text() == "/JPEGImages/b.png\n"
    train = open_dataset(tmp_path / "out", "train")
    assert (train.class_names, train.palette) == (source.class_names, source.palette)
    np.testing.assert_array_equal(train.truth(train.samples[0]), source.images[0].labels())
    test = open_dataset(tmp_path / "out", "test")
    assert not test.has_truth
    with pytest.raises(ValueError, match="its truth is not published"):
        test.truth(test.samples[0])


def test_tiles_of_image_and_labels_are_of_one_place(source, tmp_path):
    prepared = write_prepared(source, tmp_path / "out", tile=((8, 12), (4, 4)))
    windows = tile_windows(*SIZE, (8, 12), (4, 4))
    assert prepared.counts["train"] == len(windows) == 4
    train = open_dataset(tmp_path / "out", "train")
    pixels = read_image(tmp_path / "a.PNG")
    for window, sample in zip(windows, train.samples, strict=True):
        np.testing.assert_array_equal(train.image(sample), pixels[window])
        np.testing.assert_array_equal(train.truth(sample), source.images[0].labels()[window])


def test_a_missing_image_or_a_folder_in_use_leaves_nothing_behind(source, tmp_path):
    (tmp_path / "b.PNG").unlink()
    with pytest.raises(FileNotFoundError, match=r"b\.PNG: no such image"):
        write_prepared(source, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"a.PNG"}
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(ValueError, match="out: "):
        write_prepared(source, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_ids_are_first_words_without_folder_and_suffix(tmp_path):
    (tmp_path / "l.txt").write_text("/JPEGImages/a.jpg /x/a.png\n\n  b  1\n")
    assert read_ids(tmp_path / "l.txt") == ["a", "b"]
    with pytest.raises(FileNotFoundError, match=r"none\.txt: no such list"):
        read_ids(tmp_path / "none.txt")


def test_tables_hold_their_pairs_and_void_elsewhere():
    assert table_of({0: 7, 2: 1}, 4).tolist() == [7, 255, 1, 255]
    assert table_of({}, 2, otherwise=0).tolist() == [0, 0]
