"""What tests/conftest.py promises."""

import torch

from deeplab_repro import ops


def test_uninitialised_memory_is_poisoned():
    assert torch.empty(3).isnan().all()
    assert torch.ones(2).new_empty(2, 3).isnan().all()
    assert torch.empty_like(torch.ones(2), dtype=torch.float64).isnan().all()
    assert (torch.empty(3, dtype=torch.int64) == torch.iinfo(torch.int64).max).all()
    # What the extension allocates and writes whole has nothing left of it.
    assert not ops.im2col(torch.ones(1, 1, 3, 3), 3, padding=1).isnan().any()
