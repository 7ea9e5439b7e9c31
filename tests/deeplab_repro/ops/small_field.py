"""Mean fields small enough to differentiate by differences."""

import torch

NORMALIZATIONS = ["no", "before", "after", "symmetric"]


def problem(device: str, dtype: torch.dtype = torch.float64, batch: int = 2, labels: int = 3, points: int = 15):
    unary = torch.randn(batch, labels, points, dtype=dtype, device=device, requires_grad=True)
    features = [
        torch.randn(1, points, 2, dtype=dtype, device=device),
        torch.randn(batch, points, 5, dtype=dtype, device=device),
    ]
    weights = torch.tensor([1.5, 0.7], dtype=dtype, device=device, requires_grad=True)
    return unary, features, weights


def compatibility(kind: str, device: str, dtype: torch.dtype = torch.float64):
    shape = {"potts": None, "diagonal": (3,), "matrix": (3, 3)}[kind]
    return None if shape is None else torch.randn(shape, dtype=dtype, device=device, requires_grad=True)
