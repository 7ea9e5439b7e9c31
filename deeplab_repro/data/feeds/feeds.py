"""What a net's data layers give, pass after pass, as the Caffe fork of the net would from the same seed."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, Literal

from numpy.typing import ArrayLike
from torch import Tensor

# The imports of array_feeds, database_feed and image_feed fill the table of readers.
from deeplab_repro.data.feeds import array_feeds, database_feed, image_feed  # noqa: F401
from deeplab_repro.data.feeds.caffe_rng import CaffeRng
from deeplab_repro.data.feeds.feed import Feed, Opening, reader_of
from deeplab_repro.jobs.processes import worker_pool
from prototxt_import import NetSpec
from prototxt_import.errors import complain


class Feeds:
    """The data layers of a net, fed in net order; made by `open_feeds`. A context manager.

    Args:
        feeds: The data layers' feeds by layer name, in net order.
        tops: The blobs that `next` gives.
        rng: The process generator, which the layers share with Dropout.
        closing: What ends with the feeds, such as the pool that reads for them.
    """

    def __init__(self, feeds: Mapping[str, Feed], tops: tuple[str, ...], rng: CaffeRng, closing: ExitStack) -> None:
        self._feeds, self.tops, self.rng, self._closing = dict(feeds), tops, rng, closing

    def next(self) -> dict[str, Tensor]:
        """The blobs of the next pass.

        Returns:
            Tensors by blob name, float32 on the CPU.

        Raises:
            ValueError: A file cannot be read; the message names it and, where a list names it, the line.
            RuntimeError: A reading process died.
        """
        blobs: dict[str, Tensor] = {}
        for feed in self._feeds.values():
            blobs.update(feed.next())
        return blobs

    def skip(self, passes: int = 1) -> None:
        """Go past passes: everything random is drawn, no image is read.

        Args:
            passes: How many.
        """
        for _ in range(passes):
            for feed in self._feeds.values():
                feed.skip()

    def state_dict(self) -> dict[str, Any]:
        """The place in the data and in every generator.

        What was read ahead does not count: the state leads to the batch that `next` would give.

        Returns:
            Plain numbers and lists (a tensor for DummyData), for `load_state_dict`.
        """
        return {"rng": self.rng.state(), "layers": {name: feed.state() for name, feed in self._feeds.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state.

        Args:
            state: What `state_dict` gave.

        Raises:
            ValueError: The state is of other layers or of another list.
        """
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
    """Open the data layers of a net. Types that nothing here reads (see `feed.feed`) are left out.

    What is drawn depends on the seed alone, not on `workers` or timing.

    Args:
        spec: The net.
        seed: Of the process generator, as Caffe's random_seed; None takes one from the system.
        rank: This process gets the rank-th of `world` equal parts of every batch.
        world: How many processes there are; all must have the same seed.
        rng: A generator that other nets have drawn from already, in place of one of `seed`.
        workers: Threads or processes that read images ahead; 0 reads them when they are asked for.
        worker_kind: Decoding holds no interpreter lock, so that threads are the faster kind; processes keep the little
            Python around it away from a training loop that is itself bound by Python. A script that asks for processes
            needs `if __name__ == "__main__"`.
        arrays: Rows for MemoryData layers by top; MemoryData layers are left out without.
        given: Tops fed from elsewhere; layers all of whose tops are named are left out.

    Returns:
        The feeds.

    Raises:
        CaffeFormatError: An option is one that Caffe refuses, a list is missing, or a batch does not divide.
        ValueError: The rank is outside, several processes have no seed, or arrays do not fit.
    """
    if world > 1 and seed is None and rng is None:
        raise ValueError("open_feeds: several processes need one seed; give `seed`")
    if not 0 <= rank < world:
        raise ValueError(f"open_feeds: rank must lie in 0..{world - 1}, got {rank}")
    process = rng if rng is not None else CaffeRng(secrets.randbits(32) if seed is None else seed)
    own_seed = 0 if seed is None else seed
    wanted = [(layer, reader_of(layer.type)) for layer in spec.layers if not set(layer.tops) <= set(given)]
    chosen = [(layer, reader) for layer, reader in wanted if reader is not None and (arrays or not reader.from_program)]
    with ExitStack() as stack:
        pool: Executor | None = None
        if workers > 0 and any(reader.ahead for _, reader in chosen):
            if worker_kind == "process":
                pool = stack.enter_context(worker_pool(workers, torch_threads=False))
            else:
                pool = ThreadPoolExecutor(workers, "images")
                stack.callback(pool.shutdown, cancel_futures=True)
        feeds = {}
        for layer, reader in chosen:
            size = getattr(layer.options, "batch_size", world)
            if size < 1 or size % world:
                raise complain(
                    f"batch_size {size} does not divide by {world} processes; choose a multiple",
                    source=spec.source,
                    line=layer.line,
                    layer=layer.name,
                )
            part = slice(rank * size // world, (rank + 1) * size // world)
            feeds[layer.name] = reader.open(
                Opening(layer, spec, process, own_seed, rank, world, part, pool, workers, arrays or {})
            )
            # Also where a later layer cannot be opened; closing twice does nothing.
            stack.callback(feeds[layer.name].close)
        tops = tuple(top for layer, _ in chosen for top in layer.tops)
        return Feeds(feeds, tops, process, stack.pop_all())
