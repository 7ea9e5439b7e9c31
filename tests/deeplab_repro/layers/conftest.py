"""Fixtures for the tests of single layers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from deeplab_repro.layers import build_module
from prototxt_import import layer, make_net


@pytest.fixture
def run():
    """`run(type, *bottoms, tops=1, phase="TEST", **options)`: what a layer of that type gives."""

    def call(type_name: str, *bottoms: Tensor, tops: int = 1, phase: str = "TEST", **options):
        names = [f"in{i}" for i in range(len(bottoms))]
        spec = layer(type_name, "it", names, [f"out{i}" for i in range(tops)], **options)
        net = make_net("one", {n: tuple(x.shape) for n, x in zip(names, bottoms, strict=True)}, [spec], phase)
        module = build_module(net.layers[0], net)
        module.reset_parameters()
        return module.to(bottoms[0].dtype)(*bottoms)

    return call


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(7)
