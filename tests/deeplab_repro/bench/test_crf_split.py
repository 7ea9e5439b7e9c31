"""Where a dense CRF's time goes."""

from deeplab_repro.bench.cases import CrfCase
from deeplab_repro.bench.crf_programs import programs
from deeplab_repro.bench.crf_split import _with_rest, split_ms


def test_steps_of_one_call_after_one_that_does_not_count():
    call = programs(CrfCase("busy", height=20, width=24, labels=3, iterations=2), "cpu")["ours"]
    calls = []
    steps = split_ms(lambda: calls.append(0) or call(), "cpu")
    assert len(calls) == 2
    assert {"build", "blur", "rest"} <= set(steps)
    assert all(milliseconds >= 0 for milliseconds in steps.values())


def test_the_rest_is_what_no_step_covers_and_never_negative():
    assert _with_rest({"a": 1.0, "b": 2.0}, 5.0) == {"a": 1.0, "b": 2.0, "rest": 2.0}
    assert _with_rest({"a": 3.0}, 2.0)["rest"] == 0
