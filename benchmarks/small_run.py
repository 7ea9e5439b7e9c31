"""Every CUDA kernel once on small, odd shapes: the program a memory checker watches."""

from __future__ import annotations

import sys

import torch

from benchmarks import small_run_conv, small_run_crf


def run(device: str) -> None:
    """Raise AssertionError where a result is not finite; what the memory checker sees is the point."""
    torch.manual_seed(0)
    small_run_conv.run(device)
    small_run_crf.run(device)


if __name__ == "__main__":
    run(sys.argv[1] if len(sys.argv) > 1 else "cuda")
    print("all kernels ran")
