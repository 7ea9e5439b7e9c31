"""What a data layer's feed is, and the table of layer types that have one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from numpy.typing import ArrayLike
from torch import Tensor

from deeplab_repro.data.feeds.caffe_rng import CaffeRng
from prototxt_import import LayerSpec, NetSpec


class Feed(Protocol):
    """One data layer: `next` gives its tops, `skip` passes over a batch, `state` and `restore` keep the place."""

    def next(self) -> dict[str, Tensor]:
        """The tops of the next batch.

        Returns:
            Tensors by top, float32 on the CPU.
        """

    def skip(self) -> None:
        """Pass over a batch: what is random is drawn, images are not read."""

    def state(self) -> dict[str, Any]:
        """The place in the data and in the generators of this layer.

        Returns:
            What `restore` takes to go on from here.
        """

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from where `state` was taken.

        Args:
            state: What `state` gave.

        Raises:
            ValueError: The state is of another list.
        """

    def close(self) -> None:
        """End what works in the background."""


@dataclass(frozen=True)
class Opening:
    """What a feed is opened with.

    Args:
        layer: The data layer.
        spec: Its net.
        process: The process generator, which layers share.
        seed: Of a generator of the feed's own.
        rank: Which part of every batch this process gets, of `world`.
        world: How many processes there are.
        part: The rows of a batch that this process gets.
        pool: What reads files ahead; None to read them when they are asked for.
        busy: How many reads the pool does at once.
        arrays: Rows that a program handed over, by top.
    """

    layer: LayerSpec
    spec: NetSpec
    process: CaffeRng
    seed: int
    rank: int
    world: int
    part: slice
    pool: Executor | None
    busy: int
    arrays: Mapping[str, ArrayLike]


@dataclass(frozen=True)
class Reader:
    """What reads a type of data layer.

    Args:
        open: Makes the feed of a layer.
        ahead: Whether the feed uses the pool.
        from_program: Whether its rows are handed over by a program, without which the layer is left out.
    """

    open: Callable[[Opening], Feed]
    ahead: bool = False
    from_program: bool = False


_READERS: dict[str, Reader] = {}
_Open = TypeVar("_Open", bound=Callable[[Opening], Feed])


def feed(*types: str, ahead: bool = False, from_program: bool = False) -> Callable[[_Open], _Open]:
    """Class decorator: the feed of data layers of some types.

    Args:
        types: Their V2 names.
        ahead: As of `Reader`.
        from_program: As of `Reader`.

    Returns:
        The decorator, for what makes a feed of an `Opening`.
    """

    def register(open_feed: _Open) -> _Open:
        _READERS.update(dict.fromkeys(types, Reader(open_feed, ahead, from_program)))
        return open_feed

    return register


def reader_of(type_name: str) -> Reader | None:
    """What reads layers of a type.

    Args:
        type_name: The V2 name.

    Returns:
        The reader; None for types that are no data layers, and for those that nothing here reads.
    """
    return _READERS.get(type_name)
