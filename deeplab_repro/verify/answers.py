"""Published, ours and a verdict, for every record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deeplab_repro.verify.records import PAPERS, Published, Record

if TYPE_CHECKING:
    from deeplab_repro.catalog import Catalog, Entry, Store
    from deeplab_repro.verify.scores import Scored
    from deeplab_repro.verify.timing import Stopwatch

REPRODUCED, DIFFERS, MEASURED = "reproduced", "differs", "measured"
NEEDS_DATA, NEEDS_WEIGHTS, NEEDS_GPU = "needs data", "needs weights", "needs gpu"
TEST_SERVER, NOT_CHECKABLE = "test server only", "not checkable"
# Published of large nets, measured on small ones: the sign compares, the size does not.
ORDERING = "in the small"
VERDICTS = (REPRODUCED, DIFFERS, MEASURED, ORDERING, NEEDS_DATA, NEEDS_WEIGHTS, NEEDS_GPU, TEST_SERVER, NOT_CHECKABLE)


@dataclass(frozen=True)
class Answer:
    """What became of one record.

    Args:
        record: The record.
        verdict: One of VERDICTS.
        ours: Our value in the record's unit, None without one.
        detail: Why, or how.
        machine: Where it was measured, empty for what is not.
        per_class: Of scores, IoU of each class in percent, None for one that occurs nowhere.
    """

    record: Record
    verdict: str
    ours: float | None = None
    detail: str = ""
    machine: str = ""
    per_class: Mapping[str, float | None] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The row of `verify --json`.

        Returns:
            Facts by name, as JSON has them.
        """
        record = self.record
        row: dict[str, Any] = {
            "id": record.id,
            "paper": record.paper,
            "source": record.source,
            "model": record.model,
            "backbone": record.backbone,
            "dataset": record.dataset,
            "split": record.split,
            "options": record.options,
            "metric": record.metric,
            "unit": record.unit,
            "published": record.value,
            "tolerance": record.tolerance if record.check in ("here", "data", "own") else None,
            "ours": self.ours,
            "verdict": self.verdict,
            "detail": self.detail,
            "machine": self.machine or None,
            "conflict": record.conflict,
            "status": record.status or "read",
            "note": record.note,
        }
        if self.per_class:
            row["per_class"] = self.per_class
        return row


def fact_answer(record: Record) -> Answer:
    """Answer a record that the net's description answers.

    Args:
        record: The record.

    Returns:
        The answer.

    Raises:
        ValueError: Nobody computes the record's quantity.
    """
    from deeplab_repro.verify.facts import compute

    ours = compute(record)
    if record.agrees(ours):
        return Answer(record, REPRODUCED, ours)
    return Answer(record, DIFFERS, ours, f"beyond the tolerance of {record.tolerance:g} {record.unit}".rstrip())


def timing_answer(record: Record, stopwatch: Stopwatch, wanted: bool) -> Answer:
    """Answer a speed; nothing is measured on a CPU where only a GPU's figure compares.

    Args:
        record: The record.
        stopwatch: What measures.
        wanted: Whether it is to be measured.

    Returns:
        The answer.

    Raises:
        ValueError: Nobody measures the record's quantity.
    """
    from deeplab_repro.verify.timing import NotEnoughMemory, machine

    if record.check == "gpu" and stopwatch.device.type != "cuda":
        return Answer(record, NEEDS_GPU, detail="the figure is a GPU's; run where one is, --device cuda")
    if not wanted:
        return Answer(record, NOT_CHECKABLE, detail="timings were switched off")
    try:
        ours, how = stopwatch.measure(record)
    except NotEnoughMemory as error:
        return Answer(record, NOT_CHECKABLE, detail=f"not on this machine: {error}")
    return Answer(record, MEASURED, ours, how, machine(stopwatch.device))


def score_answer(
    record: Record, published: Published, catalog: Catalog, store: Store, data: Iterable[str], scored: Scored | None
) -> Answer:
    """Answer a score on a data set.

    Args:
        record: The record.
        published: All that is published.
        catalog: What the weight files are.
        store: The weight files.
        data: The data sets at hand.
        scored: What evaluating its weights gave, None where that was not done.

    Returns:
        The answer.
    """
    if store.find(record.weights) is None:
        return Answer(record, NEEDS_WEIGHTS, detail=_way_to(catalog.entry(record.weights)))
    if record.dataset not in data or scored is None:
        return Answer(
            record, NEEDS_DATA, detail=f"name {record.dataset} in the VOC layout: --data {record.dataset}=DIR"
        )
    ours, per_class = scored.value(record)
    if scored.stand_in:
        why = f"computed with stand-in weights: {scored.stand_in}"
        return Answer(record, NEEDS_WEIGHTS, ours, why, per_class=per_class)
    whole = published.images.get(record.dataset, {}).get(record.split)
    images = scored.result.images
    if images != whole:
        why = f"computed on {images} images; {record.split} has {whole or 'an unknown number'}"
        return Answer(record, NEEDS_DATA, ours, why, per_class=per_class)
    verdict = REPRODUCED if record.agrees(ours) else DIFFERS
    return Answer(record, verdict, ours, f"{images} images, tolerance {record.tolerance:g}", per_class=per_class)


def _way_to(entry: Entry) -> str:
    if not entry.released:
        return f"never released; once trained: deeplab weights add {entry.name} FILE"
    return f"deeplab weights {'fetch ' + entry.name if entry.urls else 'add ' + entry.name + ' FILE'}"


def counts(answers: Iterable[Answer]) -> dict[str, int]:
    """Count the verdicts.

    Args:
        answers: The answers.

    Returns:
        How many answers have each verdict that occurs, in the order of VERDICTS.
    """
    number_of = Counter(answer.verdict for answer in answers)
    return {verdict: number_of[verdict] for verdict in VERDICTS if number_of[verdict]}


def settings_matching(answers: Iterable[Answer]) -> int:
    """How many reproduced answers are settings held against settings: nothing was computed for them.

    Args:
        answers: The answers.

    Returns:
        Their number.
    """
    return sum(answer.verdict == REPRODUCED and answer.record.paper == "crf" for answer in answers)


def grouped(answers: Iterable[Answer]) -> Mapping[str, Mapping[str, list[Answer]]]:
    """Group answers.

    Args:
        answers: The answers.

    Returns:
        Answers by the paper's title and table, each in order of first appearance.
    """
    groups: dict[str, dict[str, list[Answer]]] = {}
    for answer in answers:
        paper = PAPERS.get(answer.record.paper, answer.record.paper)
        groups.setdefault(paper, {}).setdefault(answer.record.source, []).append(answer)
    return groups


def folded(answers: Sequence[Answer]) -> list[list[Answer]]:
    """Put answers of one series and verdict together, for people to read.

    Args:
        answers: The answers.

    Returns:
        Groups of consecutive answers.
    """
    lines: list[list[Answer]] = []
    for answer in answers:
        last = lines[-1][-1] if lines else None
        same = last is not None and (last.record.series, last.verdict) == (answer.record.series, answer.verdict)
        if same and answer.record.series:
            lines[-1].append(answer)
        else:
            lines.append([answer])
    return lines
