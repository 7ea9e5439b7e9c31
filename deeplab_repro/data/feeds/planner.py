"""Which item of a data layer comes next and what is drawn for it, exactly as the fork of the net draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeplab_repro.data.feeds.caffe_rng import CaffeRng
from prototxt_import import LayerSpec, NetSpec
from prototxt_import.layers.data import SKIPPING


@dataclass(frozen=True)
class Draw:
    """An item, and what was drawn for it.

    Args:
        index: The item's place in the list or database.
        mirror: Whether it is mirrored left to right.
        scale: A factor on its sides; 1 leaves the size.
        offsets: Outputs of the generator for the crop's row and column, None for the centre.
    """

    index: int
    mirror: bool = False
    scale: float = 1.0
    offsets: tuple[int, int] | None = None


class Planner:
    """The order of a layer's items and its random draws, exactly as the fork of the net makes them.

    The forks differ: v1 draws a fresh transformer seed from the process generator before every batch, the others draw
    one when the net is built. DenseImageData mirrors and crops by the generator of its reading thread, in every phase,
    as in ENet's Caffe. In SegNet's, which is older, that thread and the net race for the process generator, so that
    its seed does not tell what comes.

    Args:
        count: How many items there are.
        layer: The data layer.
        spec: Its net.
        process: The process generator, which layers share.

    Raises:
        ValueError: rand_skip would skip all items.

    Source:
        image_seg_data_layer.cpp, image_data_layer.cpp and data_transformer.cpp of DeepLab's forks, whose draws were
        recorded; the last draw of the others is the seed of Caffe's reading thread, internal_thread.cpp. Data draws as
        in BVLC Caffe 1.0, data_layer.cpp.
    """

    def __init__(self, count: int, layer: LayerSpec, spec: NetSpec, process: CaffeRng) -> None:
        options = layer.options
        by_thread = layer.type == "DenseImageData"
        self._count, self._mirrors, self._factors = count, options.mirrors, options.transform.scale_factors
        self._crops = options.window is not None and (by_thread or (layer.phase or spec.phase) == "TRAIN")
        self._reseeds = spec.dialect in ("v0", "v1")
        self._process = process
        self._draws = bool(self._mirrors or self._crops or self._factors)
        self._shuffler: CaffeRng | None = None
        self._transformer: CaffeRng | None = None
        # None: as the items stand.
        self._order: NDArray[np.int64] | None = None
        self._place = 0
        self._seed = 0
        transforms = self._draws and not by_thread
        if transforms and not self._reseeds:
            process.next()
        if getattr(options, "shuffle", False):
            self._shuffler = CaffeRng(process.next())
            self._shuffle(self._shuffler)
        if options.rand_skip and (layer.type != "Data" or spec.dialect in SKIPPING):
            self._place = process.next() % options.rand_skip
            if self._place >= count:
                raise ValueError(f"rand_skip: {self._place} items are to be skipped, the source has {count}")
        if self._reseeds:
            if self._draws:
                process.next()
            self.reseed()
        else:
            if transforms:
                self._transformer = CaffeRng(process.next())
            thread = process.next()
            if self._draws and by_thread:
                self._transformer = CaffeRng(thread)

    @property
    def one_ahead(self) -> bool:
        """Whether a batch can only be planned once the one before it was taken, as other users of the process
        generator draw in between."""
        return self._reseeds and self._draws

    def reseed(self) -> None:
        """v1: draw the seed of the next batch; at every forward pass, once the current batch was taken."""
        if self.one_ahead:
            self._seed = self._process.next()

    def plan(self, count: int) -> list[Draw]:
        """The next items, and what is drawn for them.

        Args:
            count: How many.

        Returns:
            One draw an item.
        """
        if self.one_ahead:
            self._transformer = CaffeRng(self._seed)
        return [self._next() for _ in range(count)]

    def _next(self) -> Draw:
        index = self._place if self._order is None else int(self._order[self._place])
        self._place += 1
        if self._place >= self._count:
            self._place = 0
            if self._shuffler is not None:
                self._shuffle(self._shuffler)
        if self._transformer is None:
            return Draw(index)
        draw, factors = self._transformer.next, self._factors
        mirror = bool(self._mirrors and draw() % 2)
        scale = factors[draw() % len(factors)] if factors else 1.0
        offsets = (draw(), draw()) if self._crops else None
        return Draw(index, mirror, scale, offsets)

    def _shuffle(self, rng: CaffeRng) -> None:
        # A new array: states that were handed out keep the order they had.
        self._order = np.arange(self._count) if self._order is None else self._order.copy()
        rng.shuffle(self._order)

    def state(self) -> dict[str, Any]:
        """The place in the data and in the generators of this layer, cheap to make.

        Returns:
            What `restore` takes; "order" is the array itself, which is never written again, or None where items come
            as they stand.
        """
        return {
            "order": self._order,
            "place": self._place,
            "seed": self._seed,
            "shuffler": self._shuffler and self._shuffler.state(),
            "transformer": self._transformer and self._transformer.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state.

        Args:
            state: What `state` gave, its order perhaps as a list.
        """
        order = state["order"]
        self._order = None if order is None else np.array(order, np.int64)
        self._place, self._seed = int(state["place"]), int(state["seed"])
        for rng, was in ((self._shuffler, state["shuffler"]), (self._transformer, state["transformer"])):
            if rng is not None and was is not None:
                rng.restore(was)
