"""What a net's data layers give, pass after pass, as the Caffe fork of the net would from the same seed."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, Literal, Protocol

from numpy.typing import ArrayLike
from torch import Tensor

from deeplab_repro.data.feeds.array_feeds import DummyFeed, HDF5Feed, MatFeed, MemoryFeed
from deeplab_repro.data.feeds.caffe_rng import CaffeRng
from deeplab_repro.data.feeds.image_feed import ImageFeed
from deeplab_repro.jobs.processes import worker_pool
from prototxt_import import LayerSpec, NetSpec
from prototxt_import.errors import complain

_KINDS = ("ImageSegData", "ImageData", "HDF5Data", "MemoryData", "DummyData", "MatRead")


class Feed(Protocol):
    """One data layer: `next` gives its tops, `skip` passes over a batch, `state` and `restore` keep the place."""

    def next(self) -> dict[str, Tensor]:
        """The tops of the next batch."""

    def skip(self) -> None:
        """Pass over a batch."""

    def state(self) -> dict[str, Any]:
        """What `restore` takes to go on from here."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from where `state` was taken."""

    def close(self) -> None:
        """End what works in the background."""


class Feeds:
    """The data layers of a net, fed in net order; made by `open_feeds`. A context manager.

    tops: the blobs that `next` gives. rng: the process generator, which the layers share with Dropout."""

    def __init__(self, feeds: Mapping[str, Feed], tops: tuple[str, ...], rng: CaffeRng, closing: ExitStack) -> None:
        self._feeds, self.tops, self.rng, self._closing = dict(feeds), tops, rng, closing

    def next(self) -> dict[str, Tensor]:
        """The blobs of the next pass by name, float32 on the CPU.

        Raises ValueError naming file and list line of what cannot be read, RuntimeError when a reading process died."""
        blobs: dict[str, Tensor] = {}
        for feed in self._feeds.values():
            blobs.update(feed.next())
        return blobs

    def skip(self, passes: int = 1) -> None:
        """Go past so many passes: everything random is drawn, no image is read."""
        for _ in range(passes):
            for feed in self._feeds.values():
                feed.skip()

    def state_dict(self) -> dict[str, Any]:
        """The place in the data and in every generator: plain numbers and lists (a tensor for DummyData).

        What was read ahead does not count: the state leads to the batch that `next` would give."""
        return {"rng": self.rng.state(), "layers": {name: feed.state() for name, feed in self._feeds.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state. Raises ValueError for the state of other layers or another list."""
        layers = state["layers"]
        if set(layers) != set(self._feeds):
            raise ValueError(f"the state is of the data layers {sorted(layers)}, the net has {sorted(self._feeds)}")
        for name, feed in self._feeds.items():
            feed.restore(layers[name])
        self.rng.restore(state["rng"])

    def close(self) -> None:
        """Drop what was read ahead and end the reading processes."""
        for feed in self._feeds.values():
            feed.close()
        self._closing.close()

    def __enter__(self) -> Feeds:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_feeds(
    spec: NetSpec,
    seed: int | None = None,
    rank: int = 0,
    world: int = 1,
    *,
    rng: CaffeRng | None = None,
    workers: int = 0,
    worker_kind: Literal["thread", "process"] = "thread",
    arrays: Mapping[str, ArrayLike] | None = None,
    given: tuple[str, ...] = (),
) -> Feeds:
    """Open the data layers of a net: ImageSegData, ImageData, HDF5Data, MemoryData, DummyData and MatRead.

    seed: of the process generator, as Caffe's random_seed; None takes one from the system. `rng` hands over a generator
    that other nets have drawn from already. Decisions depend on the seed alone, not on `workers` or timing.
    rank, world: this process gets the rank-th of `world` equal parts of every batch; all must have the same seed.
    workers: threads or processes that read images ahead; 0 reads them when they are asked for. Decoding holds no
    interpreter lock, so that threads are the faster kind; processes keep the little Python around it away from a
    training loop that is itself bound by Python. A script that asks for processes needs `if __name__ == "__main__"`.
    arrays: rows for MemoryData layers by top. given: tops fed from elsewhere; layers all of whose tops are named, and
    MemoryData layers without arrays, are left out, as are types that nothing here reads (Data, WindowData).

    Raises CaffeFormatError, a ValueError, for options Caffe refuses, missing lists and batches that do not divide."""
    if world > 1 and seed is None and rng is None:
        raise ValueError("open_feeds: several processes need one seed; give `seed`")
    if not 0 <= rank < world:
        raise ValueError(f"open_feeds: rank must lie in 0..{world - 1}, got {rank}")
    process = rng if rng is not None else CaffeRng(secrets.randbits(32) if seed is None else seed)
    own_seed = 0 if seed is None else seed
    chosen = [layer for layer in spec.layers if layer.type in _KINDS and not set(layer.tops) <= set(given)]
    if arrays is None or not arrays:
        chosen = [layer for layer in chosen if layer.type != "MemoryData"]
    with ExitStack() as stack:
        pool: Executor | None = None
        if workers > 0 and any(layer.type in ("ImageSegData", "ImageData") for layer in chosen):
            if worker_kind == "process":
                pool = stack.enter_context(worker_pool(workers, torch_threads=False))
            else:
                pool = ThreadPoolExecutor(workers, "images")
                stack.callback(pool.shutdown, cancel_futures=True)
        feeds = {}
        for layer in chosen:
            size = getattr(layer.options, "batch_size", world)
            if size < 1 or size % world:
                raise complain(
                    f"batch_size {size} does not divide by {world} processes; choose a multiple",
                    source=spec.source,
                    line=layer.line,
                    layer=layer.name,
                )
            part = slice(rank * size // world, (rank + 1) * size // world)
            feeds[layer.name] = _open(layer, spec, process, own_seed, rank, world, part, pool, workers, arrays or {})
        tops = tuple(top for layer in chosen for top in layer.tops)
        return Feeds(feeds, tops, process, stack.pop_all())


def _open(
    layer: LayerSpec,
    spec: NetSpec,
    process: CaffeRng,
    seed: int,
    rank: int,
    world: int,
    part: slice,
    pool: Executor | None,
    workers: int,
    arrays: Mapping[str, ArrayLike],
) -> Feed:
    if layer.type in ("ImageSegData", "ImageData"):
        return ImageFeed(layer, spec, process, part, pool, workers)
    if layer.type == "HDF5Data":
        return HDF5Feed(layer, spec, seed, part)
    if layer.type == "MemoryData":
        return MemoryFeed(layer, arrays, part)
    if layer.type == "MatRead":
        return MatFeed(layer, spec, part)
    return DummyFeed(layer, seed, rank, world)
