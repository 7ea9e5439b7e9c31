"""Speeds beside the published ones."""

import torch

from deeplab_repro.verify import read_published
from deeplab_repro.verify.answers import (
    timing_answer,
)
from deeplab_repro.verify.timing import Stopwatch, crf_seconds, inference_seconds, training_seconds

PUBLISHED = read_published()


def test_speeds_are_measured_and_name_the_machine(monkeypatch):
    from deeplab_repro.verify import timing

    seconds = {"deeplab_7x7": 4.0, "deeplab": 2.1, "deeplab_4x4": 2.2, "deeplab_largefov": 1.0}
    monkeypatch.setattr(timing, "training_seconds", lambda name, device: seconds[name])
    monkeypatch.setattr(timing, "inference_seconds", lambda name, device: 0.5)
    monkeypatch.setattr(timing, "crf_seconds", lambda name, device: 0.25)
    records = [record for record in PUBLISHED.records if record.check in ("timing", "gpu")]
    stopwatch = timing.Stopwatch(torch.device("cpu"))
    answers = {record.id: timing_answer(record, stopwatch, True) for record in records}
    assert {name: answers[name].ours for name in ("R018", "R032", "R033", "N08")} == {
        "R018": 0.25,
        "R032": 2.0,
        "R033": 0.25,
        "N08": 4.0,
    }
    assert answers["R105"].verdict == "needs gpu"
    others = [answer for name, answer in answers.items() if name != "R105"]
    assert {answer.verdict for answer in others} == {"measured"}
    assert all("torch" in answer.machine for answer in others)
    assert answers["N06"].detail.startswith("agrees as stated beforehand: order kept, arithmetic alone gives 1.92")


def test_speeds_out_of_order_do_not_agree(monkeypatch):
    from deeplab_repro.verify import timing

    seconds = {"deeplab_7x7": 4.0, "deeplab": 4.5, "deeplab_4x4": 2.2, "deeplab_largefov": 1.0}
    monkeypatch.setattr(timing, "training_seconds", lambda name, device: seconds[name])
    answer = timing_answer(PUBLISHED.record("N08"), timing.Stopwatch(torch.device("cpu")), True)
    assert answer.verdict == "measured"
    assert answer.detail.startswith("does not agree as stated beforehand: order not kept")


def test_too_little_memory_is_said_before_any_is_taken(monkeypatch):
    monkeypatch.setattr("deeplab_repro.verify.timing._available_memory", lambda: 1 << 30)
    answer = timing_answer(PUBLISHED.record("R018"), Stopwatch(torch.device("cpu")), True)
    assert answer.verdict == "not checkable"
    assert "needs 3.5 GiB of memory, 1.0 are free" in answer.detail


def test_what_is_timed_runs(monkeypatch):
    from deeplab_repro.verify import timing

    build = timing.models.build
    monkeypatch.setattr(timing.models, "build", lambda name, **facts: build(name, width=1 / 64, **facts))
    monkeypatch.setattr(timing, "_CRF_SIZE", (40, 48))
    cpu = torch.device("cpu")
    assert training_seconds("deeplab_largefov", cpu) > 0
    assert inference_seconds("deeplab", cpu, side=50) > 0
    assert crf_seconds("v1_largefov", cpu) > 0
