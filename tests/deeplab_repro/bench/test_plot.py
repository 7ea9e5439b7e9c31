"""The rows as a picture."""

import pytest

from deeplab_repro.bench import plot


def test_nothing_timed_is_nothing_to_draw(tmp_path):
    with pytest.raises(ValueError, match="nothing was timed"):
        plot.plot({"machine": {}, "net": [{"passed": False, "times": {}}]}, tmp_path / "no.png")
