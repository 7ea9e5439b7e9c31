"""Shapes on the canvas that scenes are drawn on."""

import numpy as np
import pytest

from deeplab_repro.data.scenes.canvas import Canvas, value_noise


@pytest.fixture
def canvas():
    return Canvas(np.random.default_rng(0), 12, 20, 1.0)


def test_noise_is_smooth_and_stays_within_one():
    noise = value_noise(np.random.default_rng(1), 40, 50, 8)
    assert (noise.shape, noise.dtype) == ((40, 50), np.float32)
    assert np.abs(noise).max() <= 1
    assert np.abs(np.diff(noise, axis=1)).max() < 0.5
    assert value_noise(np.random.default_rng(1), 1, 1, 100).shape == (1, 1)


def test_a_box_takes_pixels_by_their_centres_and_is_clipped(canvas):
    patch = canvas.box(2.4, 1, 5.5, 3)
    assert np.argwhere(patch.mask).shape == (2 * 3, 2)  # centres 2.5, 3.5, 4.5 of two rows
    assert canvas.box(-5, -5, 100, 100).mask.sum() == 12 * 20
    assert canvas.box(30, 30, 40, 40).mask.sum() == 0


def test_polygons_and_lines_have_their_area(canvas):
    assert canvas.polygon([(2, 2), (12, 2), (12, 8), (2, 8)]).mask.sum() == 60
    assert canvas.polygon([(0, 0), (10, 0), (0, 10)]).mask.sum() == pytest.approx(50, abs=6)
    assert canvas.line((2, 6), (18, 6), 4, 4).mask.sum() == 16 * 4
    assert canvas.line((3, 3), (3, 3), 1, 1).mask.sum() == 0


def test_ellipses_are_round(canvas):
    assert canvas.ellipse(10, 6, 5, 5).mask.sum() == pytest.approx(np.pi * 25, rel=0.06)
    assert canvas.ellipse(10, 6, 0, 0).mask.sum() == 0


def test_paint_labels_and_covers_and_a_shadow_darkens_without_a_label(canvas):
    canvas.paint(canvas.box(0, 0, 10, 12), (100, 50, 0), 3, "plain")
    canvas.paint(canvas.box(5, 0, 20, 12), (10, 20, 30), None, "plain")
    assert (canvas.labels[:, :10] == 3).all()
    assert (canvas.labels[:, 10:] == 0).all()
    before = canvas.image()
    np.testing.assert_allclose(before[0, 0], (100, 50, 0))
    np.testing.assert_allclose(before[0, 5], (10, 20, 30))
    canvas.darken(canvas.box(0, 0, 5, 12), 0.5)
    np.testing.assert_allclose(canvas.image()[:, :5], before[:, :5] / 2)
    assert (canvas.labels[:, :10] == 3).all()
