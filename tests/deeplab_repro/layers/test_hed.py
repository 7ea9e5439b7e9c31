"""HED: its balanced loss and its Crop, as recorded."""

from __future__ import annotations

import pytest
import torch

from deeplab_repro.layers.loss import balanced_cross_entropy
from tests.deeplab_repro.layers.recorded import check_recorded


@pytest.mark.parametrize("name", ["sigmoid_ce_balanced", "sigmoid_ce_other_targets", "sigmoid_ce_one_class"])
def test_loss_as_recorded(name):
    check_recorded("hed", name)


@pytest.mark.parametrize("name", ["crop_auto_side_outputs", "crop_auto_skip"])
def test_crop_as_recorded(name):
    check_recorded("hed", name)


def test_each_class_weighs_what_the_other_counts():
    x = torch.zeros(1, 1, 2, 2, requires_grad=True)
    target = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    loss = balanced_cross_entropy(x, target)
    loss.backward()
    assert loss.item() == pytest.approx(2 * 0.75 * torch.log(torch.tensor(2.0)).item())
    assert x.grad.flatten().tolist() == [-0.375, 0.125, 0.125, 0.125]


def test_neither_class_is_not_a_number():
    x = torch.zeros(1, 1, 1, 2, requires_grad=True)
    loss = balanced_cross_entropy(x, torch.full_like(x, 0.5))
    loss.backward()
    assert loss.isnan()
    assert x.grad.flatten().tolist() == [0.0, 0.0]


def test_an_item_may_be_one_number():
    x = torch.tensor([0.5, -1.0])
    assert balanced_cross_entropy(x, torch.tensor([1.0, 0.0])) == balanced_cross_entropy(
        x[:, None], torch.tensor([[1.0], [0.0]])
    )
