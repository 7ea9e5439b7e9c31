"""What is right is timed, what is wrong is named: a peer that fails is left out, one of ours fails the gate."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple, TypeVar

_Call = TypeVar("_Call", bound=Callable[[], Any])


class Verdict(NamedTuple):
    """The largest error of each call that ran; ours that are wrong, in words; peers left out, and why."""

    errors: dict[str, float]
    wrong: list[str]
    left_out: dict[str, str]

    def row(self) -> dict[str, Any]:
        """As a benchmark's row has it."""
        return {"errors": self.errors, "passed": not self.wrong, "wrong": self.wrong, "left_out": self.left_out}


def judge(
    calls: Mapping[str, _Call],
    peers: Collection[str],
    error: Callable[[Any], float],
    tolerance: Callable[[str], float],
) -> tuple[dict[str, _Call], Verdict]:
    """Run every call once and keep those whose result is right.

    Args:
        calls: variants by name.
        peers: names of those that are not ours.
        error: of a call's result.
        tolerance: the largest error allowed, by name.

    Returns:
        The calls to time, and the verdict on all of them."""
    right: dict[str, _Call] = {}
    verdict = Verdict({}, [], {})
    for name, call in calls.items():
        try:
            verdict.errors[name] = error(call())
            # Not a number is wrong as well.
            if verdict.errors[name] <= tolerance(name):
                right[name] = call
                continue
            reason = f"error {verdict.errors[name]:.1e}"
        except Exception as failure:  # whatever a foreign runtime or compiler raises, the others go on
            reason = (str(failure).strip() or type(failure).__name__).partition("\n")[0][:120]
        if name in peers:
            verdict.left_out[name] = reason
        else:
            verdict.wrong.append(f"{name} {reason}")
    return right, verdict


def remarks(row: Mapping[str, Any]) -> list[str]:
    """A row's verdict in words, for the end of its line."""
    wrong = [f"WRONG: {', '.join(row['wrong'])}"] if row["wrong"] else []
    return wrong + [f"{name} left out ({reason})" for name, reason in row["left_out"].items()]
