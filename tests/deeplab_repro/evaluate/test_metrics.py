import math

import numpy as np
import pytest

from deeplab_repro.evaluate.metrics import ConfusionMatrix, trimap_band


def test_scores_of_a_hand_made_matrix():
    confusion = ConfusionMatrix(3)
    truth = np.array([[0, 0, 0, 1], [1, 2, 2, 255]])
    pred = np.array([[0, 0, 1, 1], [0, 2, 2, 2]])
    confusion.update(pred, truth)
    assert confusion.matrix.tolist() == [[2, 1, 0], [1, 1, 0], [0, 0, 2]]
    assert confusion.matrix.dtype == np.int64
    assert confusion.per_class().tolist() == [2 / 4, 1 / 3, 1.0]
    assert confusion.miou() == pytest.approx((0.5 + 1 / 3 + 1) / 3)
    assert confusion.pixel_accuracy() == pytest.approx(5 / 7)
    assert confusion.mean_accuracy() == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert confusion.fwiou() == pytest.approx(3 / 7 * 0.5 + 2 / 7 / 3 + 2 / 7)


def brute_force(pred, truth, classes, ignored):
    iou, accuracy, share = [], [], []
    kept = [(p, t) for p, t in zip(pred.ravel(), truth.ravel(), strict=True) if t not in ignored]
    for c in range(classes):
        hit = sum(p == c and t == c for p, t in kept)
        union = sum(p == c or t == c for p, t in kept)
        true = sum(t == c for _, t in kept)
        iou.append(hit / union if union else math.nan)
        accuracy.append(hit / true if true else math.nan)
        share.append(true / len(kept))
    right = sum(p == t for p, t in kept) / len(kept)
    return np.array(iou), np.array(accuracy), np.array(share), right


@pytest.mark.parametrize("ignored", [255, (255, 4)])
def test_scores_equal_a_brute_force_count(ignored):
    rng = np.random.default_rng(3)
    truth = rng.choice(np.array([0, 1, 2, 4, 255], np.uint8), (2, 9, 7))
    pred = rng.integers(0, 8, (2, 9, 7)).astype(np.uint8)  # 6 and 7 are no classes, 5 is never true
    confusion = ConfusionMatrix(6, ignored)
    for one_pred, one_truth in zip(pred, truth, strict=True):
        confusion.update(one_pred, one_truth)
    iou, accuracy, share, right = brute_force(pred, truth, 6, {255} if ignored == 255 else {255, 4})
    np.testing.assert_allclose(confusion.per_class(), iou)
    assert confusion.miou() == pytest.approx(np.nanmean(iou))
    assert confusion.pixel_accuracy() == pytest.approx(right)
    assert confusion.mean_accuracy() == pytest.approx(np.nanmean(accuracy))
    assert confusion.fwiou() == pytest.approx(np.nansum(share * iou))


@pytest.mark.parametrize(("absent", "value"), [("nan", 1.0), ("zero", 1 / 3), ("one", 1.0)])
def test_classes_that_never_occur_count_as_asked(absent, value):
    confusion = ConfusionMatrix(3)
    confusion.update(np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.uint8))
    assert confusion.miou(absent) == pytest.approx(value)


def test_scores_without_pixels_are_nan():
    confusion = ConfusionMatrix(2)
    confusion.update(np.zeros((3,), np.uint8), np.full((3,), 255, np.uint8))
    confusion.update(np.zeros((0, 4)), np.zeros((0, 4)))
    assert math.isnan(confusion.miou())
    assert math.isnan(confusion.pixel_accuracy())
    assert math.isnan(confusion.mean_accuracy())
    assert math.isnan(confusion.fwiou())


@pytest.mark.parametrize(
    ("pred", "truth", "message"),
    [
        (np.zeros((2, 3), int), np.zeros((3, 2), int), r"pred \[2, 3\] and truth \[3, 2\]"),
        (np.zeros((1,), int), np.array([2]), "truth holds 2"),
        (np.zeros((1,), int), np.array([-1]), "truth holds -1"),
        (np.zeros((1,)), np.array([0]), "pred must hold integers"),
    ],
)
def test_maps_that_do_not_fit_are_refused(pred, truth, message):
    with pytest.raises(ValueError, match=message):
        ConfusionMatrix(2).update(pred, truth)


def test_a_confusion_matrix_needs_a_class():
    with pytest.raises(ValueError, match="num_classes"):
        ConfusionMatrix(0)


@pytest.mark.parametrize("width", [0, 1, 2, 40])
def test_trimap_band_is_the_void_dilated_by_a_square(width):
    truth = np.where(np.random.default_rng(1).random((17, 23)) < 0.02, 255, 3)
    want = np.zeros(truth.shape, bool)
    for y, x in zip(*np.nonzero(truth == 255), strict=True):
        want[max(y - width, 0) : y + width + 1, max(x - width, 0) : x + width + 1] = True
    np.testing.assert_array_equal(trimap_band(truth, width), want)


def test_trimap_band_of_nothing_and_of_bad_arguments():
    assert not trimap_band(np.zeros((3, 4), int), 5).any()
    assert trimap_band(np.zeros((0, 4), int), 5).shape == (0, 4)
    with pytest.raises(ValueError, match="width"):
        trimap_band(np.zeros((3, 4), int), -1)
    with pytest.raises(ValueError, match=r"\[3\]"):
        trimap_band(np.zeros(3, int), 1)
