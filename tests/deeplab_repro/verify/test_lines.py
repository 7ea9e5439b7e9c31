"""Answers in words."""

from deeplab_repro.verify import read_published
from deeplab_repro.verify.answers import (
    Answer,
    fact_answer,
    folded,
)
from deeplab_repro.verify.lines import summary

PUBLISHED = read_published()


def _crf():
    return [record for record in PUBLISHED.records if record.series == "v1_largefov"]


def test_lines_fold_series_of_one_verdict():
    curve = [record for record in PUBLISHED.records if record.series == "T01"]
    answers = [Answer(record, "needs weights") for record in curve[:39]]
    answers += [Answer(curve[39], "reproduced", 60.0), *map(fact_answer, _crf())]
    lines = [summary(line) for line in folded(answers)]
    assert [line.id for line in lines] == ["T01", "R116", "CRF.v1_largefov"]
    assert (lines[0].metric, lines[0].published) == ("boundary mIoU, 1 to 39 px", "39.1438 to 60.3344 %")
    assert (lines[1].metric, lines[1].ours) == ("boundary mIoU, 40 px", "60 %")
    assert lines[2].published == lines[2].ours == "4, 121, 5, 3, 3, 10"
