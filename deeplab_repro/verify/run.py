"""The whole table: every record answered as far as it can be where this runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from deeplab_repro.catalog import Store, read_catalog
from deeplab_repro.resolve import pick_device
from deeplab_repro.verify import answers, scores
from deeplab_repro.verify.answers import Answer
from deeplab_repro.verify.records import Record, read_published

Progress = Callable[[Iterable[Any], str, int], Iterable[Any]]


@dataclass(frozen=True)
class Plan:
    """What is at hand. data: folder by data set; weights: folder of weight files; work: where counts are kept;
    timings: whether speeds are measured."""

    weights: Path
    data: Mapping[str, Path] = field(default_factory=dict)
    work: Path = Path("verify-counts")
    device: str = "auto"
    processes: int = 1
    timings: bool = True


@dataclass(frozen=True)
class Rank:
    """This process among those that torchrun started; (0, 1) alone."""

    number: int
    total: int

    def wait(self) -> None:
        """Until all ranks are here."""
        if self.total > 1:
            torch.distributed.barrier()


@contextmanager
def ranks() -> Iterator[Rank]:
    """The place of this process, from the variables torchrun sets; they meet over gloo, which needs no GPU."""
    total = int(os.environ.get("WORLD_SIZE", "1"))
    if total < 2:
        yield Rank(0, 1)
        return
    torch.distributed.init_process_group("gloo")
    try:
        yield Rank(torch.distributed.get_rank(), total)
    finally:
        torch.distributed.destroy_process_group()


def verify(plan: Plan, rank: Rank = Rank(0, 1), progress: Progress = lambda items, *_: items) -> list[Answer]:
    """Answer every published record, in the order of published.toml; of several ranks only the first answers.

    Raises ValueError and OSError for data and weights that are named and cannot be used."""
    published, catalog, store = read_published(), read_catalog(), Store(plan.weights)
    device = pick_device(plan.device)
    unknown = sorted(set(plan.data) - set(published.images))
    if unknown:
        raise ValueError(f"--data {unknown[0]}: no such data set; known: {', '.join(published.images)}")
    runs = scores.plan(published.records, catalog, store, plan.data)
    where = (
        f"cuda:{int(os.environ.get('LOCAL_RANK', 0)) % torch.cuda.device_count()}" if device.type == "cuda" else "cpu"
    )
    for run, _ in runs:
        scores.count(run, plan.work, where, plan.processes, (rank.number, rank.total), progress)
    rank.wait()
    if rank.number:
        return []
    scored = {record.id: found for run, group in runs for found in [scores.gather(run, plan.work)] for record in group}
    timed = [record for record in published.records if record.check in ("timing", "gpu")]
    found = {answer.record.id: answer for answer in _timed(timed, device, plan.timings, progress)}
    for record in published.records:
        if record.id not in found:
            found[record.id] = (
                answers.score_answer(record, published, catalog, store, plan.data, scored.get(record.id))
                if record.check == "data"
                else _fixed(record)
            )
    return [found[record.id] for record in published.records]


def _timed(records: Sequence[Record], device: torch.device, wanted: bool, progress: Progress) -> list[Answer]:
    return answers.timing_answers(progress(records, "measuring", len(records)), device, wanted)


def _fixed(record: Record) -> Answer:
    if record.check == "here":
        return answers.fact_answer(record)
    if record.check == "test server":
        return Answer(record, answers.TEST_SERVER, detail="the truth is kept by the challenge's server")
    return Answer(record, answers.NOT_CHECKABLE, detail=record.why)
