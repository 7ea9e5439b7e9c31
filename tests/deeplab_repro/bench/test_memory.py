"""Memory of a call, seen from inside and from a process of its own."""

import sys

import pytest
import torch

from deeplab_repro.bench import memory
from deeplab_repro.bench.memory import extra_mib, resident_mib

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
MIB = 2**20


@linux
def test_what_a_call_drops_counts_and_what_it_returns_does_not():
    def call(extra):
        scratch = torch.full((extra * MIB,), 3, dtype=torch.uint8)
        return (torch.full((8 * MIB,), int(scratch[0]), dtype=torch.uint8),)

    small, large = extra_mib(lambda: call(1)), extra_mib(lambda: call(65))
    if small is None:
        pytest.skip("this system shows no peak of its own")
    assert 60 < large - small < 68


@linux
def test_resident_memory_is_below_its_peak():
    assert 0 < resident_mib("VmRSS") <= resident_mib("VmHWM") + 1
    with pytest.raises(StopIteration):
        resident_mib("VmNone")


def test_none_where_the_system_keeps_no_peak(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_CLEAR", tmp_path / "none" / "clear_refs")
    assert extra_mib(lambda: ()) is None
