"""Labels of losses and accuracies."""

from __future__ import annotations

import pytest
import torch

from tests.deeplab_repro.layers.labelled import scores_and_labels


def test_labels_are_cut_down_to_integers(run, rng):
    scores, _ = scores_and_labels(rng)
    label = torch.randint(0, 5, (2, 1, 3, 4), generator=rng).double()
    blended = label + 0.99
    assert torch.equal(run("SoftmaxWithLoss", scores, blended), run("SoftmaxWithLoss", scores, label))


@pytest.mark.parametrize("kind", ["SoftmaxWithLoss", "SegAccuracy"])
@pytest.mark.parametrize("bad", [5.0, 147.0, -1.0])
def test_label_that_is_no_class_is_named(run, rng, kind, bad):
    scores, label = scores_and_labels(rng)
    label[1, 0, 2, 3] = bad
    told = rf"layer 'it' \({kind}\): label {int(bad)} is neither a class \(0 to 4\) nor ignored; `deeplab doctor` finds"
    with pytest.raises(ValueError, match=told):
        run(kind, scores, label, ignore_labels=(255,))


def test_labels_take_no_gradient(run, rng):
    """Caffe's v2 fork aborts where one is asked for, v1 leaves it out."""
    scores, label = scores_and_labels(rng)
    label.requires_grad_()
    run("SoftmaxWithLoss", scores.requires_grad_(), label, ignore_labels=(255,)).backward()
    assert label.grad is None
