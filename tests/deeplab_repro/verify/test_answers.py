"""Verdicts: which record gets which, and how they are shown."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from deeplab_repro.catalog import Store, read_catalog
from deeplab_repro.data.sets.class_tables import VOC
from deeplab_repro.evaluate.evaluate import Result
from deeplab_repro.verify import read_published
from deeplab_repro.verify.answers import (
    VERDICTS,
    Answer,
    counts,
    fact_answer,
    folded,
    grouped,
    score_answer,
    timing_answer,
)
from deeplab_repro.verify.lines import summary
from deeplab_repro.verify.page import render_page
from deeplab_repro.verify.scores import Scored
from deeplab_repro.verify.timing import Stopwatch, crf_seconds, inference_seconds, training_seconds

PUBLISHED = read_published()
CATALOG = read_catalog()


def _score(store, images=1449, stand_in="", hits=62, data=("VOC2012",), scored=True):
    record = PUBLISHED.record("R007")  # 62.25, within 1
    matrix = np.zeros((1, 21, 22), np.int64)  # the last column is for answers that are no class
    np.fill_diagonal(matrix[0], hits)
    matrix[0, :, :21] += np.roll(np.eye(21, dtype=np.int64), 1, 1) * (100 - hits)
    found = Scored(Result(VOC, images, (), {"network": matrix}), stand_in)
    return score_answer(record, PUBLISHED, CATALOG, store, data, found if scored else None)


@pytest.fixture
def store(tmp_path):
    (tmp_path / "v1_largefov_train.caffemodel").write_bytes(b"x")
    return Store(tmp_path)


def test_score_on_the_whole_split_is_right_or_wrong(store):
    near, far = _score(store, hits=77), _score(store, hits=90)
    assert near.verdict == "reproduced"
    assert near.ours == pytest.approx(62.25, abs=1)
    assert len(near.per_class) == 21
    assert far.verdict == "differs"


def test_score_on_a_part_is_shown_and_not_judged(store):
    answer = _score(store, images=30)
    assert answer.verdict == "needs data"
    assert answer.ours is not None
    assert answer.detail == "computed on 30 images; val has 1449"


def test_score_of_a_stand_in_is_shown_and_not_judged(store):
    answer = _score(store, stand_in="conv1_1 is narrow")
    assert (answer.verdict, answer.detail) == ("needs weights", "computed with stand-in weights: conv1_1 is narrow")
    assert answer.ours is not None


def test_what_is_missing_is_named_with_the_command_that_gets_it(store, tmp_path):
    assert _score(store, data=(), scored=False).verdict == "needs data"
    assert "--data VOC2012=DIR" in _score(store, data=(), scored=False).detail
    (tmp_path / "none").mkdir()
    answer = _score(Store(tmp_path / "none"))
    assert answer.verdict == "needs weights"
    assert answer.detail == "never released; once trained: deeplab weights add v1_largefov_train FILE"
    released = score_answer(PUBLISHED.record("R062"), PUBLISHED, CATALOG, Store(tmp_path / "none"), (), None)
    assert released.detail == "deeplab weights fetch v2_resnet101_train"


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


def test_speeds_can_be_left_out():
    answer = timing_answer(PUBLISHED.record("R018"), Stopwatch(torch.device("cpu")), False)
    assert (answer.verdict, answer.ours) == ("not checkable", None)


def test_lines_fold_series_of_one_verdict():
    curve = [record for record in PUBLISHED.records if record.series == "T01"]
    answers = [Answer(record, "needs weights") for record in curve[:39]]
    answers += [Answer(curve[39], "reproduced", 60.0), *map(fact_answer, _crf())]
    lines = [summary(line) for line in folded(answers)]
    assert [line.id for line in lines] == ["T01", "R116", "CRF.v1_largefov"]
    assert (lines[0].metric, lines[0].published) == ("boundary mIoU, 1 to 39 px", "39.1438 to 60.3344 %")
    assert (lines[1].metric, lines[1].ours) == ("boundary mIoU, 40 px", "60 %")
    assert lines[2].published == lines[2].ours == "4, 121, 5, 3, 3, 10"


def _crf():
    return [record for record in PUBLISHED.records if record.series == "v1_largefov"]


def test_page_shows_every_row_and_needs_nothing_else():
    answers = [Answer(record, "needs weights", detail="<b>") for record in PUBLISHED.records]
    answers[0] = replace(answers[0], verdict="differs", ours=403.0, per_class={"bird": 12.5, "cat": None})
    page = render_page(answers)
    for record in PUBLISHED.records[:-96]:  # CRF settings are shown by their preset
        assert f">{record.id}<" in page
    assert "&lt;b&gt;" in page
    assert "<b></td>" not in page
    assert "http" not in page
    assert "403 px" in page
    assert '<td>bird</td><td class="n">12.50 %</td>' in page
    assert "<td>cat</td>" not in page


def test_groups_and_counts_keep_the_order_of_the_papers():
    answers = [Answer(PUBLISHED.record(name), "measured") for name in ("R001", "R057", "R016", "R168")]
    groups = grouped(answers)
    assert next(list(tables) for tables in groups.values()) == ["Table 1 (a)", "Table 2 (v2: Table 1)"]
    assert [name.split(" (")[0] for name in groups] == ["DeepLab v1", "DeepLab v2", "Other people's figures"]
    assert counts(answers) == {"measured": 4}
    assert len(set(VERDICTS)) == 8
