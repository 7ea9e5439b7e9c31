"""Times of several callables, taken in turns."""

from deeplab_repro.bench import timing


def test_alternate_takes_turns():
    order = []
    timings = timing.alternate({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, "cpu", rounds=4)
    assert order == ["a", "b"] * 5
    assert timings["a"].samples == 4
    assert 0 <= timings["a"].best_ms <= timings["a"].median_ms


def test_alternate_stops_after_its_seconds():
    assert timing.alternate({"a": lambda: None}, "cpu", rounds=50, seconds=0)["a"].samples == 3
