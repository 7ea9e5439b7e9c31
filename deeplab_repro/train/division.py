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
    """What each process does of an iteration.

    Args:
        ranks: This process among those of the job.
        by_rows: Whether the ranks share each batch; else they share the passes of an iteration.
    """

    ranks: Ranks
    by_rows: bool

    @classmethod
    def of(cls, spec: NetSpec, solver: SolverSpec, ranks: Ranks) -> Division:
        """Choose what suits a train net: by rows where every batch can be divided.

        Args:
            spec: The net.
            solver: Its solver.
            ranks: This process among those of the job.

        Returns:
            The division.

        Raises:
            ValueError: Neither batches nor passes can be divided, or a layer takes statistics of batches that several
                ranks share.
        """
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
        """Whether this process does a pass.

        Args:
            index: Of the pass in its iteration.
            passes: Of an iteration.

        Returns:
            The answer.
        """
        return self.by_rows or (passes - 1 - index) % self.ranks.world == self.ranks.rank

    def whole(self, batch: Mapping[str, Tensor]) -> tuple[Shapes, slice]:
        """What a batch is a part of.

        Args:
            batch: This process's blobs by name.

        Returns:
            Shapes of the whole batch's blobs, and which rows of them this process holds.
        """
        if not self.in_parts:
            return {name: tuple(value.shape) for name, value in batch.items()}, slice(None)
        rank, world = self.share
        count = next(iter(batch.values())).shape[0]
        shapes = {name: (value.shape[0] * world, *value.shape[1:]) for name, value in batch.items()}
        return shapes, slice(rank * count, (rank + 1) * count)

    def losses(self, net: nn.Module) -> AbstractContextManager[None]:
        """In the block losses are divided by the whole batch's count.

        Args:
            net: The net whose losses those are.

        Returns:
            The context manager.
        """
        return shared_batch(net, self._counted) if self.in_parts else nullcontext()

    @cached_property
    def _counted(self) -> Share:
        # One object for the whole run, so that a compiled net meets the same one in every pass.
        return Share(self.ranks.world, self.ranks.total)


def _check_statistics(spec: NetSpec, world: int) -> None:
    for layer in spec.layers:
        if world > 1 and layer.options.from_batch(spec.phase):
            remedy = "set use_global_stats: true, or " if hasattr(layer.options, "use_global_stats") else ""
            raise ValueError(
                f"{spec.source}: layer {layer.name!r} ({layer.type}): takes its statistics from the batches, of which "
                f"{world} processes would each see a part; {remedy}train in one process"
            )
