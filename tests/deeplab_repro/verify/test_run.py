"""The whole table, answered as far as it can be without data, weights and timings."""

import pytest

from deeplab_repro.verify import read_published
from deeplab_repro.verify.orderings import ordering_answers
from deeplab_repro.verify.run import Setup, verify


@pytest.fixture
def weights(tmp_path):
    """A folder of weight files that holds none."""
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


def test_every_record_is_answered_in_its_order(weights, tmp_path):
    answers = verify(Setup(weights, work=tmp_path / "work", timings=False))
    published = read_published().records
    small = [answer.record for answer in ordering_answers()]
    assert [answer.record for answer in answers] == [*published, *small]
    verdicts = {answer.record.check: set() for answer in answers}
    for answer in answers:
        verdicts[answer.record.check].add(answer.verdict)
    assert verdicts["here"] == {"reproduced"}
    assert verdicts["test server"] == {"test server only"}
    assert verdicts["data"] <= {"needs data", "needs weights"}
    assert not (tmp_path / "work").exists()


def test_data_that_nobody_knows_are_refused_before_anything_is_answered(weights, tmp_path):
    with pytest.raises(ValueError, match="--data KITTI: no such data set; known: VOC2012"):
        verify(Setup(weights, data={"KITTI": tmp_path}, timings=False))
