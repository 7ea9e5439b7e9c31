"""The tiny run of small_run.py, and what compares two of its models."""

import numpy as np
import pytest

from tests.deeplab_repro.train.small_run import tiny  # noqa: F401  # a fixture


@pytest.fixture
def same():
    """same(a, b): assert that two models hold the same bits."""

    def check(ours, theirs):
        assert ours.keys() == theirs.keys()
        for name in ours:
            assert all(np.array_equal(a, b) for a, b in zip(ours[name], theirs[name], strict=True)), name

    return check
