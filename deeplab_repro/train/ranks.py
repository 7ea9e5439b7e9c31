"""The processes of one training job: torchrun starts them, torch.distributed connects them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

# How long a rank waits for the others: a test phase or a snapshot may keep one busy that long.
PATIENCE = timedelta(minutes=30)
# Gradients travel in pieces of this many numbers, so that the copy of them stays small.
BUCKET = 8 * 2**20


class LostRank(RuntimeError):
    """A process of the job is gone, or out of step."""


@dataclass(frozen=True)
class Ranks:
    """This process among `world`; a job of one process talks to nobody."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.rank == 0

    def total(self, value: Tensor) -> Tensor:
        """The sum over all ranks of a tensor of one shape, [...] of any number type, without gradient.

        Raises LostRank where a process does not answer."""
        if self.world == 1:
            return value
        result = value.detach().clone()
        with _told(self):
            dist.all_reduce(result)
        return result

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all ranks; LostRank as in `total`."""
        if self.world == 1:
            return
        bucket: list[Tensor] = []
        for at, tensor in enumerate(tensors):
            bucket.append(tensor)
            if at + 1 == len(tensors) or sum(each.numel() for each in bucket) >= BUCKET:
                flat = torch.cat([each.reshape(-1) for each in bucket])
                with _told(self):
                    dist.all_reduce(flat)
                for each, part in zip(bucket, flat.split([each.numel() for each in bucket]), strict=True):
                    each.copy_(part.view_as(each))
                bucket = []

    def follow(self, tensors: Sequence[Tensor]) -> None:
        """Take over rank 0's tensors; LostRank as in `total`."""
        if self.world > 1:
            with _told(self):
                for tensor in tensors:
                    dist.broadcast(tensor, 0)


@contextmanager
def _told(ranks: Ranks) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        reason = str(error).split("\n")[0][:200]
        raise LostRank(f"rank {ranks.rank} of {ranks.world} lost another process of the job: {reason}") from error


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """The ranks of the job that torchrun's environment describes, connected for the block; alone without one.

    nccl on CUDA, gloo on the CPU. Raises RuntimeError where the others cannot be reached."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield Ranks()
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def local_device(device: torch.device) -> torch.device:
    """The device of this process: with torchrun on CUDA each takes its own."""
    if device.type != "cuda" or "LOCAL_RANK" not in os.environ:
        return device
    own = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(own)
    return own
