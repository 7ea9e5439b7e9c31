"""Dropout masks as Caffe draws them from its process generator."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from deeplab_repro.data.feeds.caffe_rng import CaffeRng
from deeplab_repro.net.network import CaffeNet

Shape = tuple[int, ...]


class DropoutMasks:
    """Draws the masks of a TRAIN net for one forward pass after the other: layers in net order, values in memory order.

    Args:
        net: The net.
        rng: The process generator.

    Source:
        Dropout of DeepLab's forks (dropout_layer.cpp): one 32-bit output of the process generator per value.
    """

    def __init__(self, net: CaffeNet, rng: CaffeRng) -> None:
        self._rng = rng
        self._spec = net.spec
        self._layers = [
            (layer, ratio)
            for layer in net.spec.layers
            if (ratio := layer.options.dropped()) is not None and (layer.phase or net.spec.phase) == "TRAIN"
        ]
        self._known: dict[tuple[tuple[str, Shape], ...], dict[str, Shape]] = {}

    @property
    def draws(self) -> bool:
        """Whether there is anything to draw."""
        return bool(self._layers)

    def draw(self, inputs: Mapping[str, Shape], rows: slice = slice(None)) -> dict[str, Tensor]:
        """Draw a mask for every Dropout layer.

        Args:
            inputs: Shapes of the whole batch's inputs by blob.
            rows: The part of the batch that this process holds; the draws are those of the whole batch all the same.

        Returns:
            Masks by layer, uint8 of the blob's shape, 1 for what is kept.
        """
        masks = {}
        for (layer, ratio), shape in zip(self._layers, self._shapes(inputs), strict=True):
            kept = self._rng.keep_mask(math.prod(shape), ratio)
            masks[layer.name] = torch.from_numpy(kept.reshape(shape)[rows].view("uint8"))
        return masks

    def _shapes(self, inputs: Mapping[str, Shape]) -> list[Shape]:
        key = tuple(sorted(inputs.items()))
        if self._layers and key not in self._known:
            self._known[key] = dict(self._spec.with_inputs(inputs).blobs)
        # In place or not, the blob is as large as the bottom; its last writer has not changed that.
        return [self._known[key][layer.tops[0]] for layer, _ in self._layers]
