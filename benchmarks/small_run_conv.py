"""Every convolution kernel once on small, odd shapes: what a memory checker watches. Arguments: device, part."""

from __future__ import annotations

import sys

import torch
from torch import Tensor

from deeplab_repro import ops
from deeplab_repro.ops import pyramid


def run(device: str, part: str = "all") -> None:
    """Raise AssertionError where a result is not finite; what the checker sees is the point. part: "all" or "shared",
    the kernels whose threads share memory, for a checker of races."""
    torch.manual_seed(0)
    reduced = (torch.half, torch.bfloat16) if device == "cuda" else ()
    for dtype in (torch.float32, *reduced):
        _pyramid(device, dtype)
    if part == "shared":
        return
    for dtype in (torch.float32, torch.float64, *reduced):
        for method in ("im2col", "direct", "winograd2", "winograd4"):
            _convolution(device, dtype, method)
        _shifts(device, dtype)


def _finite(*tensors: Tensor) -> None:
    assert all(torch.isfinite(tensor).all() for tensor in tensors)


def _convolution(device: str, dtype: torch.dtype, method: str) -> None:
    winograd = method.startswith("winograd")
    kernel, stride = ((3, 3), (1, 1)) if winograd else ((3, 2), (2, 1))
    x = torch.randn(3, 4, 13, 11).to(device, dtype).requires_grad_()
    weight = torch.randn(6, 2, *kernel).to(device, dtype).requires_grad_()
    bias = torch.randn(6).to(device, dtype).requires_grad_()
    for steps in {stride, (1, 1)}:
        result = ops.atrous_conv2d(x, weight, bias, steps, (7, 5), (3, 4), groups=2, method=method)
        _finite(result, *torch.autograd.grad(result.sum(), (x, weight, bias)))
    if method in ops.PACKED_METHODS and dtype in (torch.float32, torch.float64):
        packed = ops.pack_weight(weight.detach(), 2, method)
        _finite(ops.atrous_conv2d_packed(x, weight, packed, bias, 1, (7, 5), (3, 4), 2, method=method, relu=True))


def _pyramid(device: str, dtype: torch.dtype) -> None:
    # Channels and filters that fill no stage and no tile, more rows than a tile in one region and fewer in others.
    rates = [1, 5, 12, 30]
    x = torch.randn(2, 40, 15, 13).to(device, dtype).requires_grad_()
    weights = [torch.randn(136, 40, 3, 3).to(device, dtype).requires_grad_() for _ in rates]
    for summed in (True, False):
        biases = [torch.randn(136).to(device, dtype) for _ in (rates[:1] if summed else rates)]
        results = pyramid.pyramid_conv2d([x], weights, biases, rates, summed)
        _finite(*results, *torch.autograd.grad(sum(y.sum() for y in results), (x, *weights)))


def _shifts(device: str, dtype: torch.dtype) -> None:
    offsets = [(i % 9 - 4, i % 5 - 2) for i in range(70)]
    values = torch.randn(2, 6, 5, len(offsets), 3).to(device, dtype).requires_grad_()
    sums = ops.shift_add(values, offsets)
    _finite(sums, *torch.autograd.grad(sums.sum(), values))


if __name__ == "__main__":
    run(*(sys.argv[1:] or ["cuda"]))
    print("all convolution kernels ran")
