"""Caffe's generator and its draws."""

import numpy as np
import pytest

from deeplab_repro.data.feeds.caffe_rng import CaffeRng
from tests.paths import SHARED

LAYERS = SHARED / "golden" / "caffe" / "layers"
MASKS = {"v2/dropout_train_03": (8102, 0.3), "v2/dropout_train_05": (8101, 0.5), "v1/dropout_train_09": (8103, 0.9)}


def test_the_ten_thousandth_output_is_the_standard_s():
    assert int(CaffeRng(5489).draw(10000)[-1]) == 4123659995  # [rand.predef] of the C++ standard


def test_seeds_count_modulo_two_to_the_32():
    assert CaffeRng(7).next() == CaffeRng(7 + 2**32).next()


def test_uniform_int_covers_its_range_evenly():
    rng = CaffeRng(1)
    counts = np.bincount([rng.uniform_int(4) for _ in range(5000)], minlength=5)
    assert len(counts) == 5
    assert counts.min() > 900


def test_uniform_int_draws_again_above_the_last_whole_width(monkeypatch):
    rng = CaffeRng(1)
    outputs = iter([0xFFFFFFFF, 0x80000000])
    monkeypatch.setattr(rng, "next", lambda: next(outputs))
    assert rng.uniform_int(9) == 5  # the first output is past ten whole widths


def test_shuffle_is_a_permutation_that_the_seed_fixes():
    orders = []
    for _ in range(2):
        order = np.arange(100)
        CaffeRng(3).shuffle(order)
        orders.append(order)
    np.testing.assert_array_equal(*orders)
    np.testing.assert_array_equal(np.sort(orders[0]), np.arange(100))
    assert (orders[0] != np.arange(100)).any()


def test_a_restored_generator_goes_on_where_the_state_was_taken():
    rng = CaffeRng(9)
    rng.draw(700)
    state = rng.state()
    expected = rng.draw(1000)
    other = CaffeRng(0)
    other.restore(state)
    np.testing.assert_array_equal(other.draw(1000), expected)


@pytest.mark.skipif(not LAYERS.exists(), reason="needs ../shared/golden/caffe")
@pytest.mark.parametrize("name", MASKS)
def test_dropout_masks_are_those_the_forks_drew(name):
    seed, ratio = MASKS[name]
    recorded = np.load(LAYERS / name / "data.npz")
    rng = CaffeRng(seed)
    for step in (0, 1):
        for layer in ("a", "b"):
            mask = recorded[f"pass{step}/mask/{layer}"]
            np.testing.assert_array_equal(rng.keep_mask(mask.size, ratio).reshape(mask.shape), mask.astype(bool))
