"""The camera of a scene."""

import numpy as np
import pytest

from deeplab_repro.data.scenes.view import View


@pytest.fixture
def view():
    return View(np.random.default_rng(4), 60, 80)


def test_the_ground_meets_the_bottom_row_and_the_vanishing_point(view):
    assert view.ground(0, 0) == (view.vanishing, view.horizon)
    assert view.ground(2, view.reach) == (view.vanishing + 2 * view.reach, 60)
    left, right = view.road_edges
    assert view.walk_edges[0] < left < 0 < right < view.walk_edges[1]


def test_choices_stay_in_their_range(view):
    values = [view.uniform(2, 3) for _ in range(100)]
    assert 2 <= min(values) < 2.2
    assert 2.8 < max(values) < 3
    assert not any(view.chance(0) for _ in range(20))
    assert all(view.chance(1) for _ in range(20))
    colour = view.pick(((100.0, 50.0, 10.0),), spread=0.1)
    assert all(abs(channel / base - 1) < 0.15 for channel, base in zip(colour, (100, 50, 10), strict=True))


def test_softening_moves_light_and_loses_none():
    image = np.zeros((3, 5, 3), np.float32)
    image[1, 2] = 8
    for axis in (0, 1):
        soft = View.soften(image, axis, np.float32(0.25))
        assert soft.sum() == image.sum()
        assert soft[1, 2, 0] == 4
    assert View.soften(image, 1, np.float32(0.25))[1, :, 0].tolist() == [0, 2, 4, 2, 0]


def test_a_photograph_is_made_of_bytes(view):
    view.canvas.paint(view.canvas.box(0, 0, 80, 60), (400, 100, -50), 1)
    photograph = view.develop(4, 0.1)
    assert (photograph.shape, photograph.dtype) == ((60, 80, 3), np.uint8)
    assert photograph[..., 0].min() == 255
    assert photograph[..., 2].max() == 0
