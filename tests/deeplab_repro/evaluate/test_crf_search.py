"""Axes of the grid that a search goes over."""

import pytest

from deeplab_repro.evaluate.crf_search import RANGES, Axis


@pytest.mark.parametrize(
    ("text", "values", "step"),
    [
        ("3:6", (3, 4, 5, 6), 1),
        ("30:10:100", (30, 40, 50, 60, 70, 80, 90, 100), 10),
        ("0.5:0.5:2", (0.5, 1, 1.5, 2), 0.5),
        ("9,3,5", (3, 5, 9), 2),
        ("4", (4,), 2),
    ],
)
def test_ranges_are_written_as_in_matlab(text, values, step):
    assert Axis.parse(text) == Axis(values, step)


def test_ranges_of_the_papers():
    assert [len(Axis.parse(text).values) for text in RANGES["v1"].values()] == [6, 6, 8]
    assert [len(Axis.parse(text).values) for text in RANGES["v2"].values()] == [4, 8, 4]
