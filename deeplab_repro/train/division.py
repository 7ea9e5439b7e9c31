"""How the processes of a job share the work of an iteration."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor, nn

from deeplab_repro.jobs.ranks import Ranks
from deeplab_repro.layers.shares import Share, shared_batch
from prototxt_import import NetSpec, SolverSpec
from prototxt_import.layers import is_source

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Division:
    """by_rows: whether the ranks share each batch; else they share the passes of an iteration."""

    ranks: Ranks
    by_rows: bool

    @classmethod
    def of(cls, spec: NetSpec, solver: SolverSpec, ranks: Ranks) -> Division:
        """What suits a train net: by rows where every batch can be divided.

        Raises ValueError where neither batches nor passes can be, and for statistics of batches by several ranks."""
        _check_statistics(spec, ranks.world)
        sizes = [getattr(layer.options, "batch_size", 1) for layer in spec.layers if is_source(layer)]
        if all(size % ranks.world == 0 for size in sizes):
            return cls(ranks, True)
        if solver.iter_size % ranks.world == 0:
            return cls(ranks, False)
        raise ValueError(
            f"{solver.source}: neither batch_size {min(sizes)} nor iter_size {solver.iter_size} can be "
            f"divided by the {ranks.world} processes; change one of them"
        )

    @property
    def in_parts(self) -> bool:
        """Whether this process sees only a part of every batch."""
        return self.by_rows and self.ranks.world > 1

    @property
    def share(self) -> tuple[int, int]:
        """Which of how many shares of each batch the data layers give."""
        return (self.ranks.rank, self.ranks.world) if self.by_rows else (0, 1)

    def mine(self, index: int, passes: int) -> bool:
        """Whether this process does pass `index` of an iteration."""
        return self.by_rows or (passes - 1 - index) % self.ranks.world == self.ranks.rank

    def whole(self, batch: Mapping[str, Tensor]) -> tuple[Shapes, slice]:
        """Shapes of the whole batch, and which rows of it this process holds."""
        if not self.in_parts:
            return {name: tuple(value.shape) for name, value in batch.items()}, slice(None)
        rank, world = self.share
        count = next(iter(batch.values())).shape[0]
        shapes = {name: (value.shape[0] * world, *value.shape[1:]) for name, value in batch.items()}
        return shapes, slice(rank * count, (rank + 1) * count)

    def losses(self, net: nn.Module) -> AbstractContextManager[None]:
        """Losses of `net` in the block are divided by the whole batch's count."""
        return shared_batch(net, self._counted) if self.in_parts else nullcontext()

    @cached_property
    def _counted(self) -> Share:
        # One object for the whole run, so that a compiled net meets the same one in every pass.
        return Share(self.ranks.world, self.ranks.total)


def _check_statistics(spec: NetSpec, world: int) -> None:
    for layer in spec.layers:
        if world > 1 and layer.options.from_batch(spec.phase):
            remedy = {"BatchNorm": "set use_global_stats: true, or "}.get(layer.type, "")
            raise ValueError(
                f"{spec.source}: layer {layer.name!r} ({layer.type}): takes its statistics from the batches, of which "
                f"{world} processes would each see a part; {remedy}train in one process"
            )
