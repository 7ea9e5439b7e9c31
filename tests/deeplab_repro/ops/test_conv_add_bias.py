"""Bias and ReLU of maps, in place."""

import pytest
import torch

from deeplab_repro import ops


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("size", [(2, 5, 7, 3), (1, 300, 9, 11), (0, 4, 5, 5)])
def test_bias_is_added_and_negatives_are_cut(device, layout, dtype, relu, size):
    maps = torch.randn(size, device=device).to(dtype).contiguous(memory_format=layout)
    bias = torch.randn(size[1], device=device).to(dtype)
    expected = maps + bias[:, None, None]
    result = ops.add_bias_(maps, bias, relu)
    assert result is maps
    assert torch.equal(maps, expected.relu() if relu else expected)


def test_nan_stays(device):
    maps = torch.full((1, 20, 3, 3), float("nan"), device=device).to(memory_format=torch.channels_last)
    assert ops.add_bias_(maps, torch.zeros(20, device=device), True).isnan().all()


def test_opcheck_add_bias(device):
    maps = torch.randn(2, 5, 4, 3, device=device).to(memory_format=torch.channels_last)
    torch.library.opcheck(torch.ops.deeplab.add_bias_.default, (maps, torch.randn(5, device=device), True))


@pytest.mark.parametrize(
    ("maps", "bias", "message"),
    [
        (torch.ones(4, 5, 6), torch.ones(5), r"maps must be \[N, F, H, W\], got \[4, 5, 6\]"),
        (torch.ones(1, 4, 5, 6), torch.ones(1, 4), r"bias must be \[F\], got \[1, 4\]"),
        (torch.ones(1, 4, 5, 6), torch.ones(5), r"bias must have one value per map \(4\), got \[5\]"),
        (torch.ones(1, 4, 5, 6), torch.ones(4).double(), r"bias must have the dtype of maps \(Float\), got Double"),
    ],
)
def test_wrong_arguments_are_named(maps, bias, message):
    with pytest.raises(RuntimeError, match=f"add_bias_: {message}"):
        ops.add_bias_(maps, bias)
