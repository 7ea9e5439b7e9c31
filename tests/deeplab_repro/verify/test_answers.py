"""Verdicts: which record gets which, and how they are shown."""

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
    grouped,
    score_answer,
    timing_answer,
)
from deeplab_repro.verify.scores import Scored
from deeplab_repro.verify.timing import Stopwatch

PUBLISHED = read_published()
CATALOG = read_catalog()


def _score(store, images=1449, stand_in="", hits=62, data=("VOC2012",), scored=True):
    record = PUBLISHED.record("R007")  # 62.25, within 1
    matrix = np.zeros((1, 21, 22), np.int64)  # the last column is for answers that are no class
    np.fill_diagonal(matrix[0], hits)
    matrix[0, :, :21] += np.roll(np.eye(21, dtype=np.int64), 1, 1) * (100 - hits)
    score = Scored(Result(VOC, images, (), {"network": matrix}), stand_in)
    return score_answer(record, PUBLISHED, CATALOG, store, data, score if scored else None)


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


def test_speeds_can_be_left_out():
    answer = timing_answer(PUBLISHED.record("R018"), Stopwatch(torch.device("cpu")), False)
    assert (answer.verdict, answer.ours) == ("not checkable", None)


def _crf():
    return [record for record in PUBLISHED.records if record.series == "v1_largefov"]


def test_groups_and_counts_keep_the_order_of_the_papers():
    answers = [Answer(PUBLISHED.record(name), "measured") for name in ("R001", "R057", "R016", "R168")]
    groups = grouped(answers)
    assert next(list(tables) for tables in groups.values()) == ["Table 1 (a)", "Table 2 (v2: Table 1)"]
    assert [name.split(" (")[0] for name in groups] == ["DeepLab v1", "DeepLab v2", "Other people's figures"]
    assert counts(answers) == {"measured": 4}
    assert len(set(VERDICTS)) == 9
