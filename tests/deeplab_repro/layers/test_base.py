"""Modules of layer types, and their table."""

from __future__ import annotations

import pytest
import torch

from deeplab_repro import CaffeNet
from deeplab_repro.layers import CaffeLayer, module
from prototxt_import import layer, make_net


def test_own_layer_type_runs_and_a_taken_one_is_refused():
    from prototxt_import.layers import Options, register

    @register("TestDouble")
    class DoubleOptions(Options):
        pass

    spec = make_net("own", {"x": (1, 2)}, [layer("TestDouble", "twice", ["x"], ["y"])])
    with pytest.raises(ValueError, match=r"no module runs these layer types: TestDouble \('twice'\)"):
        CaffeNet(spec)

    @module("TestDouble")
    class Double(CaffeLayer):
        def forward(self, x):
            return 2 * x

    assert CaffeNet(spec)(x=torch.ones(1, 2))["y"].tolist() == [[2, 2]]
    with pytest.raises(ValueError, match="'ReLU' is run by ReLU already"):
        module("ReLU")(Double)
