"""Peak memory of one dense CRF, in a process of its own."""

import json
import sys
from dataclasses import asdict

import pytest

from deeplab_repro.bench import crf_memory
from deeplab_repro.bench.cases import CrfCase

CASE = CrfCase("busy", height=20, width=24, labels=3, iterations=1)


def test_a_program_that_is_not_there_has_no_peak():
    assert crf_memory.peak_mib(CASE, "none") is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_peak_is_printed_beyond_what_was_there_before(monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(crf_memory, "reset_peak", lambda: calls.append("reset"))
    monkeypatch.setattr(crf_memory, "resident_mib", {"VmRSS": 100.0, "VmHWM": 107.5}.__getitem__)
    monkeypatch.setattr(crf_memory, "programs", lambda case, device: {"ours": lambda: calls.append((case, device))})
    crf_memory.main(json.dumps(asdict(CASE)), "ours")
    assert calls == ["reset", (CASE, "cpu")]
    assert float(capsys.readouterr().out) == 7.5
