"""Every CUDA kernel once on small, odd shapes: the program a memory checker watches."""

from __future__ import annotations

import sys

import torch

from deeplab_repro import ops

from . import small_run_crf


def run(device: str) -> None:
    """Raise AssertionError where a result is not finite; what the memory checker sees is the point."""
    torch.manual_seed(0)
    window = (2, 1), (7, 5), (3, 4)  # stride, padding, dilation
    for dtype in (torch.float32, torch.float64) if device == "cpu" else (torch.float32, torch.float64, torch.half):
        x = torch.randn(3, 4, 13, 11, device=device).to(dtype).requires_grad_()
        weight = torch.randn(6, 2, 3, 2, device=device).to(dtype).requires_grad_()
        bias = torch.randn(6, device=device).to(dtype).requires_grad_()
        result = ops.atrous_conv2d(x, weight, bias, *window, groups=2, method="im2col")
        result.sum().backward()
        assert all(torch.isfinite(tensor).all() for tensor in (result, x.grad, weight.grad, bias.grad))
    small_run_crf.run(device)


if __name__ == "__main__":
    run(sys.argv[1] if len(sys.argv) > 1 else "cuda")
    print("all kernels ran")
