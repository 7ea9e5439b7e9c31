"""Every CUDA kernel of the dense CRF once on small, odd shapes. Arguments: device, part."""

from __future__ import annotations

import sys

import torch

from deeplab_repro import ops
from deeplab_repro.crf.model import CRFParams, DenseCRF, PermutohedralLattice


def run(device: str, part: str = "all") -> None:
    """Raise AssertionError where a result is not finite. part: "all" or "shared", the kernels of the exact mode, whose
    threads share memory, for a checker of races."""
    torch.manual_seed(0)
    _exact(device)
    if part == "shared":
        return
    # 20 features: keys that do not fit 64 bits; equal points: lists in pieces.
    for features in (torch.randn(211, 5) * 3, torch.randn(31, 20) * 1000, torch.zeros(1000, 2)):
        values = torch.randn(len(features), 11, device=device)
        lattice = PermutohedralLattice(features.to(device))
        assert torch.isfinite(lattice.filter(values) + lattice.filter(values, reverse=True)).all()
    image = torch.randint(0, 256, (2, 19, 23, 3), device=device, dtype=torch.uint8)
    storages = DenseCRF.STORAGES if device == "cuda" else DenseCRF.STORAGES[:1]
    # 1 to 4 blocks of labels are kernels of their own, more are another.
    for which, labels in enumerate((1, 9, 20, 31, 40)):
        scores = torch.randn(2, labels, 19, 23, device=device)
        for compatibility in (None, -torch.ones(labels), -torch.eye(labels)):
            params = CRFParams(
                iterations=2, normalization=CRFParams.NORMALIZATIONS[which % 4], compatibility=compatibility
            )
            for storage in storages:
                assert torch.isfinite(DenseCRF(params, storage=storage)(image, scores)).all()
    unary = torch.randn(2, 3, 50, device=device, dtype=torch.float64, requires_grad=True)
    shared = [torch.randn(1, 50, 2, device=device, dtype=torch.float64)]
    ops.meanfield(unary, shared, [3.0, 4.0], iterations=3).square().sum().backward()
    assert unary.grad is not None
    assert torch.isfinite(unary.grad).all()


def _exact(device: str) -> None:
    image = torch.randint(0, 256, (2, 19, 23, 3), device=device, dtype=torch.uint8)
    for dtype in (torch.float32, torch.float64):
        scores = torch.randn(2, 40, 19, 23, device=device, dtype=dtype)
        for skip_below in (0.0, 1e-3):
            exact = DenseCRF(CRFParams(iterations=1), method="exact", skip_below=skip_below)
            assert torch.isfinite(exact(image, scores)).all()


if __name__ == "__main__":
    run(*(sys.argv[1:] or ["cuda"]))
    print("all kernels of the dense CRF ran")
