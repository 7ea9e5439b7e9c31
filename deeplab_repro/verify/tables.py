"""The tables of published numbers in docs/results.md, from the same records as `deeplab verify`: `make tables`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from deeplab_repro.files.atomic import write_text
from deeplab_repro.verify.answers import Answer, fact_answer, folded, grouped
from deeplab_repro.verify.lines import summary
from deeplab_repro.verify.records import CHECKS, PAPERS, Record, read_published

PAGE = "docs/results.md"
BEGIN = "<!-- published numbers: written by make tables -->"
END = "<!-- end of published numbers -->"
_HEADS = {
    "here": "checked without data or weights",
    "timing": "measured beside ours",
    "gpu": "measured on a GPU",
    "data": "with weights and data",
    "test server": "test server only",
    "never": "not checkable",
}


def tables(records: Sequence[Record]) -> str:
    """Write the tables: what is checked here, published beside ours, and what checking the numbers of each paper takes.

    Args:
        records: The records.

    Returns:
        Two Markdown tables.
    """
    answers = [fact_answer(record) for record in records if record.check == "here"]
    return f"{_checked(answers)}\n\n{_needs(records)}"


def _checked(answers: Sequence[Answer]) -> str:
    rows: list[tuple[object, ...]] = []
    for by_source in grouped(answers).values():
        for source, group in by_source.items():
            if group[0].record.paper == "crf":
                good = sum(answer.verdict == "reproduced" for answer in group)
                settings = len({answer.record.series for answer in group})
                rows.append(
                    (
                        source,
                        f"{settings} settings",
                        "parameters",
                        len(group),
                        good,
                        # Settings are compared with settings: nothing was computed.
                        "settings match" if good == len(group) else "differs",
                    )
                )
                continue
            for line in map(summary, folded(group)):
                options = f", {line.options}" if line.options else ""
                rows.append((source, line.model + options, line.metric, line.published, line.ours, line.verdict))
    return _markdown(("source", "net", "what", "published", "ours", "verdict"), rows)


def _needs(records: Sequence[Record]) -> str:
    papers = dict.fromkeys(record.paper for record in records)
    rows = [(PAPERS[paper], *_counts(record for record in records if record.paper == paper)) for paper in papers]
    return _markdown(("numbers of", *(_HEADS[check] for check in CHECKS)), [*rows, ("all", *_counts(records))])


def _counts(records: Iterable[Record]) -> list[int]:
    number_of = Counter(record.check for record in records)
    return [number_of[check] for check in CHECKS]


def _markdown(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def updated(text: str, name: str = PAGE) -> str:
    """Write the part of a page between its markers anew.

    Args:
        text: The page.
        name: Its file, for errors.

    Returns:
        The page.

    Raises:
        ValueError: The markers are not there, each once and in order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"{name}: must hold the lines {BEGIN} and {END} once, in this order")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n\n{tables(read_published().records)}\n\n{END}{after}"


def main(paths: Sequence[str]) -> None:
    """Rewrite the tables of pages.

    Args:
        paths: The pages' files, docs/results.md without any.
    """
    for path in map(Path, paths or [PAGE]):
        text = updated(path.read_text("utf-8"), str(path))
        write_text(path, text)


if __name__ == "__main__":
    main(sys.argv[1:])
