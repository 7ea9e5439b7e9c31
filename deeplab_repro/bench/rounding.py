"""How far a convolution may lie from the exact one: one formula for tests, benchmarks and every device.

A sum of n products of independent values grows like sqrt(n), and so does what its roundings add up to: added one by
one, each of the n partial sums is rounded by up to u of its size, n of them at random to about 0.4 sqrt(n) u of the
sum's. Largest errors over a map lie at some five standard deviations, as the largest values do that they are divided
by. Sums in blocks, which most libraries take, are off by less; none is trusted to: which blocks a library takes is a
matter of the processor."""

from __future__ import annotations

from math import sqrt

import torch

# Half the distance of two neighbouring numbers, relative.
UNIT_ROUNDOFF = {
    torch.float64: 2.0**-53,
    torch.float32: 2.0**-24,
    torch.float16: 2.0**-11,
    torch.bfloat16: 2.0**-8,
}
TF32_ROUNDOFF = 2.0**-11

# By how much Winograd's transforms magnify the roundings of the sums between them: sums over channels alone, a ninth
# of a 3x3 window's products.
_WINOGRAD = {"winograd2": 4.0, "winograd4": 12.0}


def convolution_tolerance(dtype: torch.dtype, products: int, method: str = "direct", tf32: bool = False) -> float:
    """Largest error allowed, relative to the largest exact value of the map.

    dtype: of tensors; float16 and bfloat16 are summed in float32. products: how many each number sums, such as
    channels times taps of a forward pass. method: "winograd2" and "winograd4" may be F(2x2, 3x3) and F(4x4, 3x3);
    every other one sums the products themselves. tf32: factors are rounded to TensorFloat-32 first."""
    unit = UNIT_ROUNDOFF[dtype]
    # What is rounded once, or a few times where a bias follows or a transform is held in the type.
    stored = 4 * (TF32_ROUNDOFF if tf32 else unit)
    summed = 2 * sqrt(max(products, 1)) * min(unit, UNIT_ROUNDOFF[torch.float32])
    if method in _WINOGRAD:
        summed = _WINOGRAD[method] * (summed / 3 + stored * (unit <= UNIT_ROUNDOFF[torch.float32]))
    return stored + summed


def convolution_products(
    weight_shape: tuple[int, ...], output_shape: tuple[int, ...], groups: int = 1
) -> tuple[int, int, int]:
    """How many products a number sums: of the output, of the input's gradient, of the weight's (and the bias's)."""
    filters, channels, *kernel = weight_shape
    taps = kernel[0] * kernel[1]
    return channels * taps, filters // groups * taps, output_shape[0] * output_shape[2] * output_shape[3]
