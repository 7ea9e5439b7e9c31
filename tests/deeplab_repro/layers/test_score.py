"""Softmax, ArgMax and accuracies, as Caffe counts them."""

from __future__ import annotations

import pytest
import torch

from deeplab_repro.net.network import CaffeNet
from prototxt_import import parse_net


def test_seg_accuracy_counts_as_caffe(run):
    # Truth 0 0 1 1 (and one ignored); predictions 0 2 1 1: class 2 never true, class 3 in neither.
    scores = torch.zeros(1, 4, 1, 5)
    for i, c in enumerate((0, 2, 1, 1, 3)):
        scores[0, c, 0, i] = 1
    label = torch.tensor([0.0, 0, 1, 1, 255]).reshape(1, 1, 1, 5)
    accuracy, recall, iou = run("SegAccuracy", scores, label, ignore_labels=(255,)).flatten().tolist()
    assert (accuracy, recall) == (0.75, 0.75)
    assert iou == pytest.approx((0.5 + 1 + 0 + 1) / 4)


def test_seg_accuracy_ties_go_to_the_largest_class_and_nothing_counted_is_0_0_1(run):
    scores, label = torch.zeros(1, 3, 1, 2), torch.tensor([2.0, 0.0]).reshape(1, 1, 1, 2)
    assert run("SegAccuracy", scores, label).flatten()[0] == 0.5
    nothing = torch.full((1, 1, 1, 2), 255.0)
    assert run("SegAccuracy", scores, nothing, ignore_labels=(255,)).flatten().tolist() == [0, 0, 1]


def test_argmax_ties_go_to_the_largest_index(run):
    x = torch.tensor([1.0, 3, 3, 0, 3]).reshape(1, 5, 1, 1)
    assert run("ArgMax", x, axis=1).flatten().tolist() == [4]
    assert run("ArgMax", x, axis=1, top_k=4).flatten().tolist() == [4, 2, 1, 0]
    assert run("ArgMax", x, axis=1, top_k=2, out_max_val=True).flatten().tolist() == [3, 3]
    assert run("ArgMax", x, per_pixel=True, top_k=2, out_max_val=True).flatten().tolist() == [4, 2, 3, 3]
    both = run("ArgMax", x, top_k=2, out_max_val=True)
    assert both.shape == (1, 2, 2)
    assert both.flatten().tolist() == [4, 2, 3, 3]


def test_accuracy_top_k_and_per_class(run, rng):
    scores = torch.randn(50, 6, generator=rng)
    label = torch.randint(0, 6, (50,), generator=rng).float()
    label[:5] = 255
    kept, best = label[5:].long(), scores[5:].topk(2, 1).indices
    expected = (best == kept[:, None]).any(1).float()
    total, by_class = run("Accuracy", scores, label, tops=2, top_k=2, ignore_labels=(255,))
    torch.testing.assert_close(total, expected.mean())
    torch.testing.assert_close(by_class, torch.stack([expected[kept == c].mean() for c in range(6)]))


def test_confusion_of_reset_false_grows_over_the_passes():
    text = """input: "x" input_dim: [1, 2, 1, 2] input: "l" input_dim: [1, 1, 1, 2]
layer { name: "a" type: "SegAccuracy" bottom: "x" bottom: "l" top: "a" seg_accuracy_param { %s } }"""
    x = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
    right, wrong = torch.tensor([0.0, 1.0]).reshape(1, 1, 1, 2), torch.tensor([1.0, 1.0]).reshape(1, 1, 1, 2)
    for fields, second in (("reset: false", 0.75), ("", 0.5)):
        net = CaffeNet(parse_net(text % fields))
        assert net(x=x, l=right)["a"].flatten()[0] == 1
        assert net(x=x, l=wrong)["a"].flatten()[0] == second


def test_seg_accuracy_ignores_several_labels(run):
    scores, label = torch.zeros(1, 3, 1, 3), torch.tensor([2.0, 255.0, 0.0]).reshape(1, 1, 1, 3)
    assert run("SegAccuracy", scores, label, ignore_labels=(255, 0)).flatten()[0] == 1


@pytest.mark.parametrize("options", [{}, {"axis": 1}, {"per_pixel": True}, {"out_max_val": True, "top_k": 2}])
def test_argmax_of_no_items_is_none(run, options):
    top = run("ArgMax", torch.zeros(0, 4, 5, 5), **options)
    assert top.shape == (0, *run("ArgMax", torch.zeros(1, 4, 5, 5), **options).shape[1:])
