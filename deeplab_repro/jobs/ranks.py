"""The processes of one training job: torchrun starts them, torch.distributed connects them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from deeplab_repro.jobs.lifeline import Lifeline, lost

# How long a rank waits for the others: a test phase or a snapshot may keep one busy that long.
PATIENCE = timedelta(minutes=30)
# How long the first rank of a job waits for the last to be started.
ARRIVAL = timedelta(seconds=60)
# Gradients travel in pieces of this many numbers, so that the copy of them stays small.
BUCKET = 8 * 2**20


class LostRank(RuntimeError):
    """Another process of the job failed, is gone, or out of step."""


@dataclass(frozen=True)
class Ranks:
    """This process among those of a job; a job of one process talks to nobody.

    Args:
        rank: Its number.
        world: How many there are.
        lifeline: Of the job this process has joined, which knows why a collective fails. It rides here, on the object
            that every caller of a collective has anyway, so that the module keeps no state of a job.
    """

    rank: int = 0
    world: int = 1
    lifeline: Lifeline | None = field(default=None, compare=False, repr=False)

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.rank == 0

    def total(self, value: Tensor) -> Tensor:
        """Add up a tensor over all ranks.

        Args:
            value: [...] of any number type, of one shape on all.

        Returns:
            The sum, without gradient.

        Raises:
            LostRank: A process does not answer.
        """
        if self.world == 1:
            return value
        result = value.detach().clone()
        with self._told():
            dist.all_reduce(result)
        return result

    def gather(self, part: Any) -> list[Any]:
        """Collect a few facts of all ranks.

        Args:
            part: This one's; anything that can be pickled.

        Returns:
            What every rank has, in their order.

        Raises:
            LostRank: A process does not answer.
        """
        parts = [part] * self.world
        if self.world > 1:
            with self._told():
                dist.all_gather_object(parts, part)
        return parts

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their sums over all ranks.

        Args:
            tensors: Of the same shapes and order on all.

        Raises:
            LostRank: A process does not answer.
        """
        if self.world == 1:
            return
        bucket: list[Tensor] = []
        for at, tensor in enumerate(tensors):
            bucket.append(tensor)
            if at + 1 == len(tensors) or sum(gradient.numel() for gradient in bucket) >= BUCKET:
                flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
                with self._told():
                    dist.all_reduce(flat)
                for gradient, part in zip(bucket, flat.split([g.numel() for g in bucket]), strict=True):
                    gradient.copy_(part.view_as(gradient))
                bucket = []

    @contextmanager
    def rescued(self, save: Callable[[], str]) -> Iterator[None]:
        """In the block, work is saved before this process is ended because it is stuck in a collective.

        Args:
            save: Does so, from another thread, and returns what to say of it.
        """
        if self.lifeline is None:
            yield
            return
        self.lifeline.rescue = save
        try:
            yield
        finally:
            self.lifeline.rescue = None

    def follow(self, tensors: Sequence[Tensor]) -> None:
        """Take over rank 0's tensors.

        Args:
            tensors: Of the same shapes and order on all, changed in place.

        Raises:
            LostRank: A process does not answer.
        """
        if self.world > 1:
            with self._told():
                for tensor in tensors:
                    dist.broadcast(tensor, 0)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """A collective that fails in the block tells which process is lost."""
        try:
            yield
        except RuntimeError as error:
            cause = "" if self.lifeline is None else self.lifeline.cause()
            raise LostRank(lost(cause or str(error).split("\n")[0][:200])) from error


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """The ranks of the job that torchrun's environment describes, connected for the block; alone without one.

    nccl on CUDA, gloo on the CPU. The block ends for all ranks together: when every one is through it, or, within a
    minute, when one has failed or is gone; two where this one is stuck and has something to save.

    Args:
        device: Where this process's tensors are.

    Raises:
        LostRank: Another process has failed or is gone, or does not come.
        ValueError: The environment is only half there.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield Ranks()
        return
    ranks = Ranks(int(_variable("RANK")), int(_variable("WORLD_SIZE")))
    store, own = _meeting(ranks)
    lifeline = Lifeline(own, ranks.rank, ranks.world)
    try:
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            store=store,
            rank=ranks.rank,
            world_size=ranks.world,
            timeout=PATIENCE,
        )
        yield replace(ranks, lifeline=lifeline)
        lifeline.finish(store)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and lifeline.reason:
            raise LostRank(lost(lifeline.reason)) from None
        lifeline.fail(store, error)
        raise
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
        lifeline.close()


def _meeting(ranks: Ranks) -> tuple[dist.Store, dist.Store]:
    """Two connections to the store of the job, once every rank is there."""
    host, port = _variable("MASTER_ADDR"), int(_variable("MASTER_PORT"))
    # torchrun keeps the store itself; else rank 0 does.
    keeps = ranks.first and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    names = [f"here/{rank}" for rank in range(ranks.world)]
    try:
        store, own = (
            dist.PrefixStore(
                "deeplab", dist.TCPStore(host, port, is_master=master, timeout=ARRIVAL, wait_for_workers=False)
            )
            for master in (keeps, False)
        )
    except RuntimeError as error:
        raise LostRank(f"rank 0 does not answer at {host}:{port} ({str(error).splitlines()[0][:200]})") from error
    store.set(names[ranks.rank], "")
    try:
        store.wait(names, ARRIVAL)
    except RuntimeError as error:
        missing = ", ".join(str(rank) for rank, name in enumerate(names) if not store.check([name]))
        seconds = ARRIVAL.total_seconds()
        raise LostRank(
            f"of the {ranks.world} processes of the job, rank {missing} did not come within {seconds:g} s"
        ) from error
    # What a collective may wait for at its first call.
    store.set_timeout(PATIENCE)
    return store, own


def _variable(name: str) -> str:
    if name not in os.environ:
        raise ValueError(f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but {name} is not set; torchrun sets them all")
    return os.environ[name]
