"""Every convolution kernel once on small, odd shapes: what a memory checker watches. Argument: device."""

from __future__ import annotations

import sys

import torch
from torch import Tensor

from deeplab_repro import ops


def run(device: str) -> None:
    """Raise AssertionError where a result is not finite; what the checker sees is the point."""
    torch.manual_seed(0)
    reduced = (torch.half, torch.bfloat16) if device == "cuda" else ()
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


def _shifts(device: str, dtype: torch.dtype) -> None:
    offsets = [(i % 9 - 4, i % 5 - 2) for i in range(70)]
    values = torch.randn(2, 6, 5, len(offsets), 3).to(device, dtype).requires_grad_()
    sums = ops.shift_add(values, offsets)
    _finite(sums, *torch.autograd.grad(sums.sum(), values))


if __name__ == "__main__":
    run(*(sys.argv[1:] or ["cuda"]))
    print("all convolution kernels ran")
