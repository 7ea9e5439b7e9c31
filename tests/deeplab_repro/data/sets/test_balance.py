"""Labels made void at random."""

import numpy as np
import pytest

from deeplab_repro.data.sets.balance import kept_shares, voided


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
