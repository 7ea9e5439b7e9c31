"""Atrous spatial pyramid pooling: parallel atrous convolutions of one input, and the taps that they share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from deeplab_repro.ops.conv import atrous_conv2d, shift_add

Pair = tuple[int, int]


def aspp(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor | None],
    rates: Sequence[int],
    summed: bool = True,
    method: str = "auto",
) -> Tensor | list[Tensor]:
    """Atrous spatial pyramid pooling: parallel atrous convolutions of one input that keep its size.

    With few filters (`F` at most 32) the sum is one matrix product over all distinct taps, those in the branches'
    centres added up beforehand, then `ops.shift_add`; otherwise each branch is an `ops.atrous_conv2d` by `method`.
    The operator takes any dtype and device that those take, and is differentiable.

    Args:
        x: Maps [N, C, H, W].
        weights: Per branch filters [F, C, k, k] with odd k.
        biases: Per branch one number per filter, [F], or None.
        rates: Per branch the dilation in pixels.
        summed: Whether the branches are summed, as DeepLab's classifiers are.
        method: As in `ops.atrous_conv2d`.

    Returns:
        The branches' sum [N, F, H, W], or where not `summed` a list of the branches.

    Raises:
        ValueError: Branches do not match each other.
        RuntimeError: A branch does not match `x`.

    Source:
        Chen et al. 2016, section 3.3.

    Example:
        >>> import torch
        >>> from deeplab_repro.ops.aspp import aspp
        >>> weights = [torch.rand(2, 4, 3, 3) for _ in range(2)]
        >>> aspp(torch.rand(1, 4, 17, 17), weights, [None, None], rates=[6, 12]).shape
        torch.Size([1, 2, 17, 17])
    """
    if not weights or not len(weights) == len(biases) == len(rates):
        raise ValueError(
            f"aspp: needs a weight, a bias or None, and a rate per branch, got {len(weights)}, {len(biases)}, "
            f"{len(rates)}"
        )
    for weight, rate in zip(weights, rates, strict=True):
        if weight.dim() != 4 or weight.shape[2] != weight.shape[3] or weight.shape[2] % 2 == 0 or rate < 1:
            raise ValueError(
                f"aspp: weights must be [F, C, k, k] with odd k, rates positive, got {list(weight.shape)}, {rate}"
            )
    if summed and len({weight.shape[0] for weight in weights}) > 1:
        raise ValueError(f"aspp: summed branches need equal filters, got {[weight.shape[0] for weight in weights]}")
    if summed and weights[0].shape[0] <= _MERGED_FILTERS and not torch.is_autocast_enabled(x.device.type):
        return _merged_aspp(x, weights, biases, rates)
    branches = [
        atrous_conv2d(x, weight, bias, 1, rate * (weight.shape[2] // 2), rate, method=method)
        for weight, bias, rate in zip(weights, biases, rates, strict=True)
    ]
    if not summed:
        return branches
    total = branches[0]
    for branch in branches[1:]:
        total = total + branch
    return total


# One filter block of a product is then half empty tap by tap, and full over all taps.
_MERGED_FILTERS = 32


def _merged_aspp(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor | None], rates: Sequence[int]) -> Tensor:
    if x.device.type == "cpu" and x.dtype in (torch.bfloat16, torch.float16):
        # As `ops.atrous_conv2d` does: one rounding, not one per tap.
        wide = [weight.float() for weight in weights], [None if bias is None else bias.float() for bias in biases]
        return _merged_aspp(x.float(), *wide, rates).to(x.dtype)
    windows = [
        ((rate * (weight.shape[2] // 2),) * 2, (rate, rate)) for weight, rate in zip(weights, rates, strict=True)
    ]
    height, width = x.shape[2:]
    # A tap that never meets the map adds nothing.
    taps = {
        (dy, dx): tap
        for (dy, dx), tap in distinct_taps(weights, windows).items()
        if abs(dy) < height and abs(dx) < width
    }
    y = sum_of_taps(x, torch.cat(list(taps.values())).T, list(taps))
    given = [bias for bias in biases if bias is not None]
    return y + torch.stack(given).sum(0).view(-1, 1, 1) if given else y


def distinct_taps(weights: Iterable[Tensor], windows: Iterable[tuple[Pair, Pair]]) -> dict[Pair, Tensor]:
    """The taps of convolutions that are summed, those that meet the same pixel added up.

    Args:
        weights: of each convolution, [F, C, kh, kw].
        windows: padding and rate of each, both (h, w).

    Returns:
        By offset (dy, dx) from the output's pixel, [F, C]."""
    taps: dict[Pair, Tensor] = {}
    for weight, (padding, rate) in zip(weights, windows, strict=True):
        for i in range(weight.shape[2]):
            for j in range(weight.shape[3]):
                offset = i * rate[0] - padding[0], j * rate[1] - padding[1]
                tap = weight[:, :, i, j]
                taps[offset] = taps[offset] + tap if offset in taps else tap
    return taps


def sum_of_taps(x: Tensor, matrix: Tensor, offsets: Sequence[Pair], dtype: torch.dtype | None = None) -> Tensor:
    """Sum convolutions as one matrix product, then `ops.shift_add`.

    Args:
        x: Maps [N, C, H, W].
        matrix: `distinct_taps` side by side, [C, T F].
        offsets: Of the T taps.
        dtype: Of the result; that of x where None.

    Returns:
        Maps [N, F, H, W].
    """
    products = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1]) @ matrix
    if dtype is not None:
        products = products.to(dtype)
    taps = len(offsets)
    return shift_add(products.view(x.shape[0], *x.shape[2:], taps, matrix.shape[1] // taps), offsets)
