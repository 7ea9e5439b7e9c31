"""Labels made void at random."""

import numpy as np
import pytest

from deeplab_repro.data.sets.balance import kept_shares, voided, write_list
from deeplab_repro.data.sets.datasets import open_dataset
from deeplab_repro.files.images import read_labels
from tests.sets import write_set


def test_the_rarest_class_keeps_all_labels_and_others_by_the_power_of_their_share():
    np.testing.assert_allclose(kept_shares([400, 100, 25], 0.5), [0.25, 0.5, 1])
    np.testing.assert_allclose(kept_shares([400, 100, 25], 1), [1 / 16, 1 / 4, 1])
    np.testing.assert_array_equal(kept_shares([400, 100, 25], 0), [1, 1, 1])


def test_a_class_without_pixels_does_not_void_the_others_altogether():
    np.testing.assert_allclose(kept_shares([100, 0], 0.5), [0.1, 1])
    assert kept_shares([], 0.5).shape == (0,)


@pytest.mark.parametrize(("pixels", "power"), [([3, -1], 0.5), ([3, 1], -0.5)])
def test_negative_numbers_are_refused(pixels, power):
    with pytest.raises(ValueError, match="negative"):
        kept_shares(pixels, power)


def test_labels_become_void_by_their_class_and_void_stays_void():
    labels = np.repeat(np.array([0, 1, 255], np.uint8), 10_000).reshape(3, 10_000)
    result = voided(labels, np.array([0.2, 1.0]), np.random.Generator(np.random.PCG64(3)))
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result[1:], labels[1:])
    assert set(np.unique(result[0])) == {0, 255}
    # Four standard deviations of a share of 10,000.
    assert (result[0] == 0).mean() == pytest.approx(0.2, abs=0.016)


@pytest.fixture
def unbalanced(tmp_path):
    """Two pictures with three times as much of class 0 as of class 1, and some void."""
    labels = np.zeros((40, 40), np.uint8)
    labels[:10], labels[10] = 1, 255
    image = np.zeros((40, 40, 3), np.uint8)
    root = write_set(tmp_path / "set", {"train": dict.fromkeys("ab", (image, labels))}, classes=["wide", "narrow"])
    return open_dataset(root, "train")


def test_a_list_without_a_power_names_the_files_as_they_are(unbalanced, tmp_path):
    lines = write_list(tmp_path, unbalanced).read_text().splitlines()
    assert lines == [f"{item.image} {item.label}" for item in unbalanced.samples]
    assert not (tmp_path / "labels").exists()


def test_a_list_with_a_power_names_labels_with_void_in_the_frequent_class(unbalanced, tmp_path):
    lines = write_list(tmp_path, unbalanced, 1, seed=3).read_text().splitlines()
    found = [read_labels(line.split()[1]) for line in lines]
    for labels, item in zip(found, unbalanced.samples, strict=True):
        truth = unbalanced.truth(item)
        np.testing.assert_array_equal(labels[:11], truth[:11])
        assert set(np.unique(labels[11:])) == {0, 255}
        # Four standard deviations of a share of 1,160 pixels.
        assert (labels[11:] == 0).mean() == pytest.approx(400 / 1160, abs=0.056)
    assert (found[0] != found[1]).any()
    again = write_list(tmp_path, unbalanced, 1, seed=3).read_text().splitlines()
    np.testing.assert_array_equal(read_labels(again[0].split()[1]), found[0])
    other = write_list(tmp_path, unbalanced, 1, seed=4).read_text().splitlines()
    assert (read_labels(other[0].split()[1]) != found[0]).any()
