"""Layers at the rim of a net: what feeds it and what stores its blobs.

Sources (ImageSegData, HDF5Data, ...) have no module: their tops are inputs of the CaffeNet."""

from __future__ import annotations

from torch import Tensor

from deeplab_repro.layers.base import CaffeLayer, module


@module("MatWrite", "HDF5Output")
class Sink(CaffeLayer):
    """A layer that writes files; running the net does not."""

    def forward(self, *bottoms: Tensor) -> tuple[()]:
        return ()
