"""The whole table: every record answered as far as it can be where this runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

import torch

from deeplab_repro.catalog import Store, read_catalog
from deeplab_repro.jobs.ranks import Ranks
from deeplab_repro.predict.preprocessing import MODELS
from deeplab_repro.verify import answers, orderings, own, scores
from deeplab_repro.verify.answers import Answer
from deeplab_repro.verify.records import Record, read_published
from deeplab_repro.verify.scores import Progress, no_progress
from deeplab_repro.verify.timing import Stopwatch


@dataclass(frozen=True)
class Setup:
    """What is at hand.

    Args:
        weights: The folder of weight files.
        data: Folders by data set.
        work: Where counts are kept.
        device: "cpu" or "cuda", with an index where there are several.
        processes: How many of this machine share the images.
        timings: Whether speeds are measured.
        only: Patterns of the records that are answered, as of `chosen`; none for all.
    """

    weights: Path
    data: Mapping[str, Path] = field(default_factory=dict)
    work: Path = Path("verify-counts")
    device: str = "cpu"
    processes: int = 1
    timings: bool = True
    only: tuple[str, ...] = ()


def chosen(records: Sequence[Record], patterns: Sequence[str]) -> tuple[Record, ...]:
    """The records that a pattern names, by id (R00?), paper, table, net, data set or metric.

    Args:
        records: The records.
        patterns: As a shell has them, in any case; one without a star may stand anywhere but in an id. None: all.

    Returns:
        The records, in their order.

    Raises:
        ValueError: A pattern names none.

    Example:
        >>> from deeplab_repro.verify.records import read_published
        >>> from deeplab_repro.verify.run import chosen
        >>> [record.id for record in chosen(read_published().records, ["R00[12]"])]
        ['R001', 'R002']
    """
    if not patterns:
        return tuple(records)
    kept = set()
    for pattern in patterns:
        ids = {record.id for record in records if _is_named(record, pattern.lower())}
        if not ids:
            raise ValueError(f"--only {pattern}: names no record; try an id (R001, 'R0*'), a net, a table or a metric")
        kept |= ids
    return tuple(record for record in records if record.id in kept)


def _is_named(record: Record, pattern: str) -> bool:
    words = (record.paper, record.source, record.model, record.dataset, record.metric, record.quantity, record.series)
    return fnmatchcase(record.id.lower(), pattern) or any(
        pattern in word.lower() if "*" not in pattern else fnmatchcase(word.lower(), pattern) for word in words if word
    )


def verify(setup: Setup, ranks: Ranks = Ranks(), progress: Progress = no_progress) -> list[Answer]:
    """Answer every published record.

    Args:
        setup: What is at hand.
        ranks: This process among those of the job, which share the images.
        progress: Shows how far it is.

    Returns:
        One answer a record, in the order of published.toml; nothing on ranks other than the first.

    Raises:
        ValueError: Data or weights that are named cannot be used.
        OSError: A file of them cannot be read.
    """
    published, catalog, store = read_published(), read_catalog(), Store(setup.weights)
    ours = own.own_records(name for name in setup.data if name in MODELS)
    in_small = {answer.record: answer for answer in orderings.ordering_answers()}
    asked = chosen((*published.records, *ours, *in_small), setup.only)
    ours = [record for record in ours if record in asked]
    published = replace(published, records=tuple(record for record in asked if record not in (*ours, *in_small)))
    for dataset, folder in setup.data.items():
        if dataset in MODELS:
            continue
        if dataset not in published.images:
            known = ", ".join((*published.images, *MODELS))
            raise ValueError(f"--data {dataset}: no such data set; known: {known}")
        for split in published.images[dataset]:
            scores.open_split(folder, dataset, split)
    runs = scores.runs_for(published.records, catalog, store, setup.data)
    for run, _ in runs:
        scores.count(run, setup.work, setup.device, setup.processes, (ranks.rank, ranks.world), progress)
    ranks.total(torch.zeros(1))  # waits until all are here
    with progress("bundled models") as steps:
        own_answers = own.own_answers(ours, setup.data, setup.work, setup.device, ranks, steps)
    if not ranks.first:
        return []
    scored: dict[str, scores.Scored] = {}
    for run, records in runs:
        of_run = scores.gather(run, setup.work, setup.device)
        scored |= {record.id: of_run for record in records}
    stopwatch = Stopwatch(torch.device(setup.device))
    timed = [record for record in published.records if record.check in ("timing", "gpu")]
    with progress("measuring") as steps:
        answered = {}
        for done, record in enumerate(timed, 1):
            answered[record.id] = answers.timing_answer(record, stopwatch, setup.timings)
            steps(done, len(timed))
    for record in published.records:
        if record.check == "data":
            score = scored.get(record.id)
            answered[record.id] = answers.score_answer(record, published, catalog, store, setup.data, score)
        elif record.id not in answered:
            answered[record.id] = _fixed(record)
    small = [answer for record, answer in in_small.items() if record in asked]
    return [*(answered[record.id] for record in published.records), *own_answers, *small]


def _fixed(record: Record) -> Answer:
    if record.check == "here":
        return answers.fact_answer(record)
    if record.check == "test server":
        return Answer(record, answers.TEST_SERVER, detail="the truth is kept by the challenge's server")
    return Answer(record, answers.NOT_CHECKABLE, detail=record.why)
