"""What a loss is divided by when several processes hold shares of one batch: the whole batch's count, not the share's.

Gradients and losses of all shares then simply add up to those of the batch.

The layers that count over a batch carry the share they see, as they carry their options: `BatchLayer.share`, a whole
batch unless told. Whoever divides the batches lends a net's layers another one for a block (`shared_batch`), and only
that net counts so: one that runs meanwhile, or the same net outside of the block, as when a single process looks for
the layer that gave a NaN, waits for no other process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn

from deeplab_repro.layers.base import CaffeLayer


@dataclass(frozen=True)
class Share:
    """One of `count` equal shares of a batch.

    Args:
        count: How many shares make the batch.
        total: Adds a tensor up over all shares, without gradient; None where one is all."""

    count: int = 1
    total: Callable[[Tensor], Tensor] | None = None

    def whole(self, items: int) -> int:
        """How many items the whole batch has where this share has `items`."""
        return items * self.count

    def whole_sum(self, value: Tensor) -> Tensor:
        """The sum over the whole batch where this share's is `value`; a constant where there are several."""
        return value if self.total is None else self.total(value.detach())


class BatchLayer(CaffeLayer):
    """A layer whose tops count over the whole batch. share: what its bottoms are of it."""

    share = Share()


@contextmanager
def shared_batch(net: nn.Module, share: Share) -> Iterator[None]:
    """In the block every batch that `net` sees is such a share."""
    layers = [module for module in net.modules() if isinstance(module, BatchLayer)]
    before = [layer.share for layer in layers]
    for layer in layers:
        layer.share = share
    try:
        yield
    finally:
        for layer, own in zip(layers, before, strict=True):
            layer.share = own
