"""The orderings in the small: what the ablation wrote, as rows that are never called reproduced."""

import json

import pytest

from deeplab_repro.verify.answers import ORDERING
from deeplab_repro.verify.lines import summary
from deeplab_repro.verify.orderings import ordering_answers
from deeplab_repro.verify.run import Setup, verify
from tests.paths import ROOT


def test_rows_hold_the_published_gain_beside_ours_and_say_what_each_seed_gave(tmp_path):
    row = {
        "model": "ASPP-L", "gain": "over ASPP-S", "published_points": 1.98, "source": "v2 table 3",
        "points": [0.5, -1.25], "mean_points": -0.375, "spread_points": 1.2, "verdict": "unclear",
    }  # fmt: skip
    file = tmp_path / "orderings.json"
    file.write_text(json.dumps({"about": "heads on a net", "comparisons": [{**row, "published_points": None}, row]}))
    (answer,) = ordering_answers(file)  # of one without a published number there is nothing to verify
    assert (answer.verdict, answer.record.value, answer.ours) == (ORDERING, 1.98, -0.38)
    assert answer.detail == "unclear: +0.5, -1.2 by seed"
    line = summary([answer])
    assert (line.id, line.model, line.options, line.note) == ("ORD02", "ASPP-L", "over ASPP-S", "v2 table 3")
    assert (line.metric, line.published, line.ours) == ("gain in mean IoU", "1.98 points", "-0.38 points")
    assert answer.as_json()["tolerance"] is None


def test_what_comes_with_the_package_is_what_the_runs_gave():
    shipped = json.loads((ROOT / "weights" / "orderings.json").read_text())
    runs = json.loads((ROOT / "benchmarks" / "results" / "animals-orderings.json").read_text())
    assert shipped["comparisons"] == runs["comparisons"]


def test_verify_answers_them_last_and_by_pattern(tmp_path):
    answers = verify(Setup(tmp_path, timings=False, only=("mIoU_gain",)))
    assert [answer.record.id for answer in answers] == [answer.record.id for answer in ordering_answers()]
    with pytest.raises(ValueError, match="ORD99"):
        verify(Setup(tmp_path, timings=False, only=("ORD99",)))
