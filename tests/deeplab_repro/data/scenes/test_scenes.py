import hashlib

import numpy as np
import pytest

from deeplab_repro.data.scenes.scenes import CLASSES, PALETTE, THIN, benchmark_scene, draw_scene


def digest(*arrays):
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()[:16]


@pytest.fixture(scope="module")
def label_maps():
    return np.stack([draw_scene(seed)[1] for seed in range(300, 330)])


def test_a_seed_draws_the_same_bytes_everywhere():
    assert digest(*draw_scene(11, 96, 128)) == "c2a05043a70e5ba4"


def test_scenes_have_image_and_labels_of_the_size_asked():
    image, labels = draw_scene(1)
    assert (image.shape, image.dtype) == ((240, 320, 3), np.uint8)
    assert (labels.shape, labels.dtype) == ((240, 320), np.uint8)


def test_other_seeds_draw_other_scenes():
    assert len({digest(draw_scene(seed, 60, 80)[0]) for seed in range(8)}) == 8


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (37, 2), (33, 17), (200, 90), (90, 400)])
def test_any_size_can_be_drawn(size):
    for seed in range(4):
        image, labels = draw_scene(seed, *size)
        assert image.shape == (*size, 3)
        assert labels.shape == size
        assert labels.max() < len(CLASSES)


def test_every_class_occurs(label_maps):
    share = np.bincount(label_maps.ravel(), minlength=len(CLASSES)) / label_maps.size
    assert len(CLASSES) == len(PALETTE) >= 8
    assert share.shape == (len(CLASSES),)
    assert share.min() > 0.01


def test_thin_structures_cover_two_percent(label_maps):
    assert np.isin(label_maps, THIN).mean() >= 0.02


def test_thin_structures_are_thin(label_maps):
    thin = np.isin(label_maps, THIN)
    # A pixel is deep inside when everything up to 8 pixels left and right, or above and below, is thin as well.
    wide = np.stack([np.roll(thin, shift, 2) for shift in range(-8, 9)]).all(0)
    tall = np.stack([np.roll(thin, shift, 1) for shift in range(-8, 9)]).all(0)
    assert (wide & tall & thin).sum() < 0.1 * thin.sum()


def test_colour_alone_tells_too_little():
    images, labels = zip(*(draw_scene(seed) for seed in range(40, 52)), strict=True)
    bins = (np.stack(images) // 32).astype(np.int64)
    cell = (bins[..., 0] * 8 + bins[..., 1]) * 8 + bins[..., 2]
    votes = np.zeros((512, len(CLASSES)), np.int64)
    np.add.at(votes, (cell.ravel(), np.stack(labels).ravel()), 1)
    assert votes.max(1).sum() / votes.sum() < 0.75


@pytest.mark.parametrize("arguments", [(-1, 10, 10), (0, 0, 10), (0, 10, 0)])
def test_bad_seeds_and_sizes_are_refused(arguments):
    with pytest.raises(ValueError, match="draw_scene"):
        draw_scene(*arguments)
    with pytest.raises(ValueError, match="benchmark_scene"):
        benchmark_scene(*arguments)


def test_benchmark_scenes_are_fixed_by_kind_and_seed():
    first = benchmark_scene(5, 60, 80, "busy")
    np.testing.assert_array_equal(first, benchmark_scene(5, 60, 80, "busy"))
    assert not np.array_equal(first, benchmark_scene(5, 60, 80, "smooth"))
    with pytest.raises(ValueError, match="smooth, busy"):
        benchmark_scene(5, 60, 80, "noisy")


@pytest.mark.parametrize(("kind", "low", "high"), [("smooth", 0.2, 0.32), ("busy", 1.6, 2.2)])
def test_benchmark_scenes_fill_the_lattice_as_photographs_do(kind, low, high):
    torch = pytest.importorskip("torch")
    from deeplab_repro.crf.features import PermutohedralLattice, bilateral_features

    shares = []
    for seed in range(3):
        image = torch.from_numpy(benchmark_scene(seed, 375, 500, kind))
        features = bilateral_features(image[None].float(), 67.0, 3.0)[0]
        shares.append(int(PermutohedralLattice(features).vertex_count) / (375 * 500))
    assert low < np.mean(shares) < high
    assert max(shares) < 1.5 * min(shares)
