"""`deeplab diff` as one HTML file that needs nothing else: a bar for each layer, and the table behind it."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence

from deeplab_repro.files.atomic import write_text
from deeplab_repro.inspect.diff import Difference, first_off, verdict
from deeplab_repro.report.html import render

# The bars show max abs over its tolerance between these powers of ten; the tolerance itself is at 10^0.
LOW, HIGH = -4.0, 4.0


def render_diff(title: str, rows: Sequence[Difference], summary: str, facts: Mapping[str, str]) -> str:
    """The page as text: `rows` grouped by their source, `summary` one sentence, `facts` label and text."""
    sources = {name: [row for row in rows if row.source == name] for name in dict.fromkeys(row.source for row in rows)}
    return render(
        __package__,
        "diff.html.j2",
        {"bar": _bar, "hue": _hue, "verdict": verdict},
        title=title,
        sources=sources,
        summary=summary,
        facts=facts,
        ok=first_off(rows) is None,
        limit=_place(0.0),
    )


def write_diff(
    title: str, rows: Sequence[Difference], summary: str, facts: Mapping[str, str], path: str | os.PathLike[str]
) -> None:
    """Render to `path`; raises OSError when it cannot be written, and then leaves nothing behind."""
    text = render_diff(title, rows, summary, facts)
    write_text(path, text)


def _power(row: Difference) -> float:
    """log10 of max abs over the tolerance, within LOW..HIGH."""
    if not math.isfinite(row.max_abs) or (row.tolerance == 0 and row.max_abs > 0):
        return HIGH
    if row.max_abs == 0:
        return LOW
    return min(HIGH, max(LOW, math.log10(row.max_abs / row.tolerance)))


def _place(power: float) -> float:
    return 100 * (power - LOW) / (HIGH - LOW)


def _bar(row: Difference) -> str:
    """Length of a row's bar in percent; an exact match keeps a sliver."""
    return f"{max(1.0, _place(_power(row))):.1f}"


def _hue(row: Difference) -> str:
    """Colour from green (exact) over yellow (at the tolerance) to red, as an angle."""
    return f"{120 * (1 - _place(_power(row)) / 100):.0f}"
