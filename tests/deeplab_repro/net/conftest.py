from __future__ import annotations

import pytest
import torch

from deeplab_repro import CaffeNet
from tests.deeplab_repro.net.small_net import small_spec


@pytest.fixture
def feed():
    g = torch.Generator().manual_seed(3)
    return {
        "data": torch.randn(1, 3, 6, 7, generator=g),
        "label": torch.randint(0, 3, (1, 1, 6, 7), generator=g).float(),
        "zero": torch.zeros(1, 4, 6, 7),
    }


@pytest.fixture
def net():
    return CaffeNet(small_spec("TEST"), torch.Generator().manual_seed(5))
