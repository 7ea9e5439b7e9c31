from __future__ import annotations

import pytest
import torch


def test_bias_of_listed_channels_counts_every_entry_but_the_ignored(run):
    label = torch.tensor([0.0, 3.0, 3.0, 2.0, -1.0]).reshape(1, 5, 1, 1)
    scores = torch.zeros(1, 4, 2, 2, requires_grad=True)
    top = run("BiasChannel", scores, label, bg_bias=1.5, fg_bias=2.5, ignore_label=(2,))
    assert top[0, :, 1, 1].tolist() == [1.5, 0, 0, 5]
    top.sum().backward()
    assert torch.equal(scores.grad, torch.ones_like(scores))


def test_bias_of_labelled_pixels_with_and_without_a_background(run):
    label = torch.tensor([[0.0, 2.0], [255.0, -1.0]]).reshape(1, 1, 2, 2)
    scores = torch.zeros(1, 3, 2, 2)
    options = {"bg_bias": 1.0, "fg_bias": 3.0, "label_type": "PIXEL", "ignore_label": (255,)}
    plain = run("BiasChannel", scores, label, **options)
    assert plain[0].flatten(1).tolist() == [[3, 0, 0, 0], [0, 0, 0, 0], [0, 3, 0, 0]]
    ground = run("BiasChannel", scores, label, background_label=0, **options)
    assert ground[0].flatten(1).tolist() == [[1, 1, 0, 0], [0, 0, 0, 0], [0, 3, 0, 0]]


@pytest.mark.parametrize("type_name", ["BiasChannel", "AdaptiveBiasChannel"])
def test_label_that_is_no_channel_is_refused(run, type_name):
    with pytest.raises(ValueError, match="label 4 is none of the 4 channels"):
        run(type_name, torch.zeros(1, 4, 2, 2), torch.full((1, 1, 1, 1), 4.0))


def test_adaptive_bias_lets_each_listed_label_win_its_portion(run, rng):
    scores = torch.randn(1, 4, 10, 10, generator=rng)
    label = torch.tensor([0.0, 2.0]).reshape(1, 2, 1, 1)
    top = run("AdaptiveBiasChannel", scores, label, num_iter=3, bg_portion=0.3, fg_portion=0.4, margin_others=0.01)
    listed = top[0, [0, 2]]
    assert bool((top[0, [1, 3]] <= listed.amin(0)).all())
    assert int((listed[1] >= listed[0]).sum()) > 40
    torch.testing.assert_close(listed.amax(0).mean(), scores[0, [0, 2]].amax(0).mean())


def test_adaptive_bias_leaves_an_item_without_labels_alone(run, rng):
    scores = torch.randn(1, 3, 4, 4, generator=rng)
    assert torch.equal(run("AdaptiveBiasChannel", scores, torch.full((1, 2, 1, 1), -1.0)), scores)
