"""Losses over shares of a batch add up to those of the batch."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from deeplab_repro import CaffeNet
from deeplab_repro.layers.shares import Share, shared_batch
from deeplab_repro.train.checkpointing import CheckpointedNet
from prototxt_import import Filler, layer, make_net


def two_losses(rule: str, kind: type[CaffeNet] = CaffeNet) -> CaffeNet:
    """A net with one loss halfway, whose labels are partly ignored, and one at its end."""

    def convolution(name: str, bottom: str, outputs: int):
        window = {"kernel": (3, 3), "pad": (1, 1), "weight_filler": Filler("gaussian", std=0.5)}
        return layer("Convolution", name, bottom, name, num_output=outputs, **window)

    options = {"ignore_labels": (255,), "normalization": rule}
    layers = [
        convolution("a", "data", 3),
        layer("SoftmaxWithLoss", "early", ["a", "label"], ["early"], loss_weights=[1.0], **options),
        convolution("b", "a", 8),
        convolution("c", "b", 3),
        layer("SoftmaxWithLoss", "late", ["c", "label"], ["late"], loss_weights=[1.0], **options),
    ]
    net = make_net("two", {"data": (2, 3, 6, 6), "label": (2, 1, 6, 6)}, layers, "TRAIN")
    return kind(net, torch.Generator().manual_seed(1)).double()


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    label = torch.randint(0, 3, (2, 1, 6, 6)).float()
    label[0, :, :5] = 255
    return {"data": torch.randn(2, 3, 6, 6), "label": label}


def adding_up(net: CaffeNet, batch: dict[str, torch.Tensor]) -> list[Share]:
    """For each item of the batch its share, whose totals are over both: what the first pass of each asks for."""
    asked: list[list[torch.Tensor]] = [[], []]
    for index, values in enumerate(asked):
        with torch.no_grad(), shared_batch(net, Share(2, lambda value, values=values: values.append(value) or value)):
            net(**{name: value[index : index + 1] for name, value in batch.items()})
    totals = [first + second for first, second in zip(*asked, strict=True)]
    turns = iter(totals), iter(totals)  # each loss asks once a pass, in the order of the layers
    return [Share(2, lambda value, turn=turn: next(turn)) for turn in turns]


@pytest.mark.parametrize("rule", ["VALID", "FULL", "BATCH_SIZE"])
def test_shares_add_up_to_the_batch(rule, batch):
    net = two_losses(rule)
    net(**batch).loss.backward()
    want = [blob.grad.clone() for blob in net.parameters()]
    net.zero_grad()
    losses = []
    for index, share in enumerate(adding_up(net, batch)):
        with shared_batch(net, share):
            loss = net(**{name: value[index : index + 1] for name, value in batch.items()}).loss
            loss.backward()
        losses.append(loss.item())
    assert sum(losses) == pytest.approx(net(**batch).loss.item(), rel=1e-12)
    for blob, gradient in zip(net.parameters(), want, strict=True):
        torch.testing.assert_close(blob.grad, gradient, rtol=1e-10, atol=1e-12)


def test_losses_computed_again_in_backward_are_of_the_same_share(batch):
    gradients = []
    for kind in (CaffeNet, CheckpointedNet):
        net = two_losses("VALID", kind)
        with shared_batch(net, Share(2, lambda value: value * 3)):
            net(**batch).loss.backward()
        gradients.append([blob.grad for blob in net.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_only_that_net_is_shared_and_only_in_the_block(batch):
    net, other = two_losses("BATCH_SIZE"), two_losses("BATCH_SIZE")
    alone = net(**batch).loss.item()
    with shared_batch(net, Share(2, lambda value: value)):
        assert net(**batch).loss.item() == pytest.approx(alone / 2)
        assert other(**batch).loss.item() == alone
    with pytest.raises(ValueError, match="missing input"), shared_batch(net, Share(2, lambda value: value)):
        net(data=batch["data"])
    assert net(**batch).loss.item() == alone
    assert pickle.loads(pickle.dumps(net))(**batch).loss.item() == copy.deepcopy(net)(**batch).loss.item() == alone


def test_a_root_over_the_batch_cannot_be_shared():
    root = layer("EuclideanLoss", "loss", ["x", "y"], ["loss"], square_root=True)
    net = CaffeNet(make_net("root", {"x": (2, 3), "y": (2, 3)}, [root], "TRAIN"))
    feed = {"x": torch.ones(2, 3), "y": torch.zeros(2, 3)}
    assert net(**feed)["loss"].item() == pytest.approx(3**0.5)
    with pytest.raises(ValueError, match="cannot be taken share by share"), shared_batch(net, Share(2, lambda v: v)):
        net(**feed)
