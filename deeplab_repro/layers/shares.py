"""What a loss is divided by when several processes hold shares of one batch: the whole batch's count, not the share's.

Gradients and losses of all shares then simply add up to those of the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor

Total = Callable[[Tensor], Tensor]
_shares: tuple[int, Total] | None = None


@contextmanager
def shared_batch(count: int, total: Total) -> Iterator[None]:
    """In the block every batch is one of `count` equal shares; `total` adds a tensor up over them, without gradient."""
    global _shares
    before, _shares = _shares, (count, total)
    try:
        yield
    finally:
        _shares = before


def whole(items: int) -> int:
    """How many items the whole batch has where this share has `items`."""
    return items if _shares is None else items * _shares[0]


def whole_sum(value: Tensor) -> Tensor:
    """The sum over the whole batch where this share's is `value`; a constant."""
    return value if _shares is None else _shares[1](value.detach())
