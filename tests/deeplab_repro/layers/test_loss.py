from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck
from torch.nn import functional as F

from deeplab_repro.layers.loss import FLT_MIN
from prototxt_import import parse_net
from tests.deeplab_repro.layers.labelled import scores_and_labels


@pytest.mark.parametrize(
    ("rule", "divisor"), [("FULL", 24), ("VALID", 20), ("BATCH_SIZE", 2), ("NONE", 1), ("WEIGHTED", 20)]
)
def test_softmax_loss_normalisation(run, rng, rule, divisor):
    scores, label = scores_and_labels(rng)
    loss = run("SoftmaxWithLoss", scores, label, ignore_labels=(255,), normalization=rule)
    total = F.cross_entropy(scores, label[:, 0].long(), ignore_index=255, reduction="sum")
    torch.testing.assert_close(loss, total / divisor)
    assert loss.shape == ()


def test_softmax_loss_gradient(run, rng):
    scores, label = scores_and_labels(rng)
    assert gradcheck(
        lambda t: run("SoftmaxWithLoss", t, label, ignore_labels=(255,)), scores.requires_grad_(), atol=1e-6
    )


def test_all_labels_ignored(run):
    scores, label = torch.zeros(1, 3, 2, 2, requires_grad=True), torch.full((1, 1, 2, 2), 255.0)
    loss = run("SoftmaxWithLoss", scores, label, ignore_labels=(255,))
    loss.backward()
    assert loss.item() == 0
    assert not scores.grad.any()
    assert run("SoftmaxWithLoss", scores, label, ignore_labels=(255,), normalization="WEIGHTED").isnan()


def test_probability_is_held_at_the_least_float_but_not_its_gradient(run):
    scores = torch.tensor([[0.0, 200.0]]).reshape(1, 2, 1, 1).requires_grad_()
    loss = run("SoftmaxWithLoss", scores, torch.zeros(1, 1, 1, 1))
    loss.backward()
    assert loss.item() == pytest.approx(-math.log(FLT_MIN), rel=1e-6)
    assert scores.grad.flatten().tolist() == [-1, 1]


def test_class_weights_of_the_v1_rule(run, rng, tmp_path):
    weights = torch.tensor([1.0, 0.5, 2.0, 0.0, 3.0])
    file = tmp_path / "weights.txt"
    file.write_text("1 0.5\n2 0\n3\n")
    scores, label = scores_and_labels(rng)
    ours = run(
        "SoftmaxWithLoss", scores, label, ignore_labels=(255,), normalization="WEIGHTED", weight_source=str(file)
    )
    expected = F.cross_entropy(scores, label[:, 0].long(), weights.double(), ignore_index=255)
    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize(
    ("kind", "options"), [("EuclideanLoss", {}), ("EuclideanLoss", {"normalization": "FULL", "square_root": True})]
)
def test_euclidean_loss(run, rng, kind, options):
    a, b = (torch.randn(3, 4, generator=rng, dtype=torch.float64, requires_grad=True) for _ in range(2))
    square = ((a - b) ** 2).sum()
    torch.testing.assert_close(run(kind, a, b, **options), (square / 12).sqrt() if options else square / 6)
    assert gradcheck(lambda *t: run(kind, *t, **options), (a, b))


def test_weight_file_outside_the_folder_of_a_net_that_was_read_is_refused(tmp_path):
    from deeplab_repro import load_caffe

    (tmp_path / "nets").mkdir()
    (tmp_path / "outside.txt").write_text("1 2")
    (tmp_path / "nets" / "inside.txt").write_text("1 3")
    text = (
        'input: "x" input_dim: 1 input_dim: 2 input_dim: 1 input_dim: 1\n'
        'input: "t" input_dim: 1 input_dim: 1 input_dim: 1 input_dim: 1\n'
        'layers { name: "loss" type: SOFTMAX_LOSS bottom: "x" bottom: "t" softmaxloss_param { weight_source: "%s" } }'
    )
    net = tmp_path / "nets" / "net.prototxt"
    net.write_text(text % "inside.txt")
    loss = load_caffe(net)
    assert loss.layers["loss"].class_weight.tolist() == [1, 3]
    for name in ("../outside.txt", str(tmp_path / "outside.txt"), "/dev/zero"):
        net.write_text(text % name)
        with pytest.raises(ValueError, match=r"layer 'loss' .*lies outside the folder"):
            load_caffe(net)


def test_without_ignored_labels_full_is_valid(run, rng):
    scores, label = scores_and_labels(rng, ignored=0)
    full, valid = (run("SoftmaxWithLoss", scores, label, normalization=rule) for rule in ("FULL", "VALID"))
    torch.testing.assert_close(full, valid)


def test_second_top_of_softmax_loss_holds_the_probabilities(run, rng):
    """The v2 fork cannot build such a layer; BVLC's can."""
    scores, label = scores_and_labels(rng)
    _, p = run("SoftmaxWithLoss", scores, label, tops=2, ignore_labels=(255,))
    torch.testing.assert_close(p, scores.softmax(1))


@pytest.mark.parametrize("rule", ["VALID", "WEIGHTED"])
def test_ignored_pixels_get_no_gradient_whatever_the_mask_was_before(run, rng, rule):
    """The v1 fork leaves what an earlier pass had put there."""
    scores, label = scores_and_labels(rng)
    scores.requires_grad_()
    for ignored in (label, label.roll(1, 2)):
        scores.grad = None
        run("SoftmaxWithLoss", scores, ignored, ignore_labels=(255,), normalization=rule).backward()
        at = (ignored == 255).expand_as(scores)
        assert not scores.grad[at].any()
        assert scores.grad[~at].all()


def test_hinge_loss_of_both_norms(run):
    x = torch.tensor([[0.5, -2.0, 2.0], [0.0, 1.0, -0.5]])
    label = torch.tensor([0.0, 1.0])
    # 1 + x for the other classes, 1 - x for the label's: 0.5, -1, 3 and 1, 0, 0.5.
    assert run("HingeLoss", x, label).item() == pytest.approx((0.5 + 3 + 1 + 0.5) / 2)
    assert run("HingeLoss", x, label, norm="L2").item() == pytest.approx((0.25 + 9 + 1 + 0.25) / 2)


@pytest.mark.parametrize(("legacy", "apart"), [(False, (1.5 - 1) ** 2), (True, 1.5 - 1)])
def test_contrastive_loss_of_pairs_apart(run, legacy, apart):
    a, b = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0], [2.0, 2.0]])
    similar = torch.tensor([1.0, 0.0, 0.0])
    got = run("ContrastiveLoss", a, b, similar, margin=1.5, legacy_version=legacy)
    assert got.item() == pytest.approx((25 + apart) / 6)
    x = b.clone().requires_grad_()
    run("ContrastiveLoss", a, x, similar, margin=1.5, legacy_version=legacy).backward()
    slope = 1 / 3 if legacy else 0.5 / 3 / (1 + 1e-4)
    assert x.grad.tolist()[1] == pytest.approx([0, -slope])


def test_v1_contrastive_loss_is_the_legacy_one():
    text = "".join(f'input: "{name}" input_dim: [1, 2, 1, 1] ' for name in "ab") + 'input: "s" input_dim: [1, 1, 1, 1]'
    text += ' layers { name: "l" type: CONTRASTIVE_LOSS bottom: "a" bottom: "b" bottom: "s" top: "l" }'
    assert parse_net(text, dialect="v1").layers[0].options.legacy_version
    assert not parse_net(text, dialect="bvlc").layers[0].options.legacy_version


def test_losses_of_probabilities_hold_them_off_zero(run):
    p, label = torch.tensor([[0.0, 1.0], [0.5, 0.5]]), torch.tensor([0.0, 1.0])
    expected = -(math.log(1e-20) + math.log(0.5)) / 2
    assert run("MultinomialLogisticLoss", p, label).item() == pytest.approx(expected)
    gain = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).reshape(1, 1, 2, 2)
    assert run("InfogainLoss", p, label, gain).item() == pytest.approx(expected)
