"""The training step's benchmark: both programs are the same net."""

import pytest
import torch

from benchmarks import train_step
from benchmarks.plain_torch import PlainTorch
from deeplab_repro.zoo.backbone import backbone_spec
from deeplab_repro.zoo.models import fresh_net
from tests.deeplab_repro.zoo.test_backbone import mobile


def test_the_peer_has_the_loss_and_the_gradients_of_our_net():
    spec = backbone_spec(mobile(), 3, phase="TRAIN", size=(33, 33), batch=2, fc_channels=4, frozen_until="b1")
    net = fresh_net(train_step.without_dropout(spec))
    peer = PlainTorch(net)
    data, label = torch.randn(2, 3, 33, 33), torch.randint(0, 3, (2, 1, 33, 33)).float()
    ours, theirs = net(data=data, label=label).loss, peer(data, label)
    torch.testing.assert_close(ours, theirs)
    ours.backward()
    theirs.backward()
    for name in ("b1/depthwise", "b3/more", "fc6", "fc8_voc12"):
        for blob, other in zip(net.params[name], peer.parts[name].parameters(), strict=True):
            torch.testing.assert_close(blob.grad, other.grad, rtol=1e-4, atol=1e-5 * float(other.grad.abs().max()))
    assert peer.parts["stem"].weight.grad is None


def test_a_row_has_both_times_and_another_net_is_refused(monkeypatch):
    monkeypatch.setattr(train_step, "train_spec", lambda *facts: backbone_spec(
        mobile(), 3, phase="TRAIN", size=(33, 33), fc_channels=4
    ))  # fmt: skip
    row = train_step.measure("mobile", crop=33, batch=1, rounds=3)
    assert row["ours_ms"] > 0
    assert row["ratio"] == pytest.approx(row["ours_ms"] / row["torch_ms"], rel=0.2)
    monkeypatch.setattr(train_step, "steps", lambda spec: {"ours": lambda: 1.0, "torch": lambda: 1.1})
    with pytest.raises(ValueError, match="the losses differ"):
        train_step.measure("mobile")
    monkeypatch.undo()
    with pytest.raises(ValueError, match="needs --backbone DIR"):
        train_step.train_spec("mobile", None, 33, 1)
