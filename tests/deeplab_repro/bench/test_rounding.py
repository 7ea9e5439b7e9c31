"""The bound on a convolution's error, beside errors that are measured."""

import pytest
import torch
import torch.nn.functional as F

from deeplab_repro.bench.rounding import convolution_products, convolution_tolerance


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("channels", [1, 64, 512])
def test_torchs_own_convolutions_lie_within_and_a_hundredth_part_would_not_hold_them(dtype, channels):
    generator = torch.Generator().manual_seed(channels)
    x = torch.randn(1, channels, 15, 15, generator=generator).to(dtype)
    weight = torch.randn(8, channels, 3, 3, generator=generator).to(dtype)
    exact = F.conv2d(x.double(), weight.double(), padding=1)
    error = (F.conv2d(x, weight, padding=1).double() - exact).abs().max() / exact.abs().max()
    products, *_ = convolution_products(weight.shape, exact.shape)
    bound = convolution_tolerance(dtype, products)
    assert bound / 100 < error <= bound


def test_bounds_grow_with_the_sum_and_the_method_and_shrink_with_digits():
    def bound(dtype=torch.float32, products=4608, method="direct", tf32=False):
        return convolution_tolerance(dtype, products, method, tf32)

    assert bound(products=0) == bound(products=1) < bound(products=4608) < bound(products=10**6)
    assert bound() < bound(method="winograd2") < bound(method="winograd4")
    assert bound(torch.float64) < bound() < bound(tf32=True) < bound(torch.bfloat16)
    assert bound(torch.float16) < bound(torch.bfloat16)


def test_products_of_the_output_and_of_both_gradients():
    assert convolution_products((6, 4, 3, 2), (2, 6, 5, 7)) == (4 * 6, 6 * 6, 2 * 5 * 7)
    assert convolution_products((6, 2, 3, 2), (2, 6, 5, 7), groups=2) == (2 * 6, 3 * 6, 2 * 5 * 7)
