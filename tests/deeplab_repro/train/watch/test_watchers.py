"""Logs of a run, for programs and for TensorBoard."""

import json
import os

import pytest

from deeplab_repro.train.watch.curve import Curve
from deeplab_repro.train.watch.watchers import JsonLog, TensorBoard
from tests.deeplab_repro.train.small_run import TESTED


def test_logs_and_pictures_are_written(tiny, tmp_path):
    pytest.importorskip("tensorboard")
    tiny.write(TESTED)
    folder = tmp_path / "board"
    watchers = [
        JsonLog(tmp_path / "l.jsonl"),
        TensorBoard(folder),
        Curve(tmp_path / "r.html"),
        Curve(tmp_path / "r.png"),
    ]
    tiny.train(watchers=watchers)
    rows = tiny.rows("l.jsonl")
    assert [row["iteration"] for row in rows] == list(range(12))
    assert {"loss", "lr", "smoothed", "seconds"} <= rows[0].keys()
    tests = [json.loads(line) for line in (tmp_path / "l.jsonl").read_text().splitlines() if '"test"' in line]
    assert [row["updates"] for row in tests] == [0, 5, 10]
    page = (tmp_path / "r.html").read_text()
    assert page.count("data:image/png") == 3
    assert "data:image/svg" in page
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    assert len(events.Scalars("train/loss")) == 12
    assert len(events.Scalars("test0/accuracy_2")) == 3
    assert "prediction" in events.Tags()["images"]


class Cut(BaseException):
    """What a kill looks like to the code under it."""


def test_a_kill_while_a_log_is_taken_over_keeps_its_lines(tiny, monkeypatch):
    log = tiny.folder / "log.jsonl"
    tiny.train("part", max_iter=7, watchers=[JsonLog(log)])
    before = log.read_text()

    def cut(*names):
        raise Cut

    monkeypatch.setattr(os, "replace", cut)
    with pytest.raises(Cut):
        tiny.train("part", snapshot=str(tiny.folder / "part_iter_7.solverstate"), watchers=[JsonLog(log)])
    assert log.read_text() == before
