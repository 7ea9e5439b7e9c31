"""Numbers that follow from the nets' descriptions: each published one, and what they are made of."""

from dataclasses import replace

import pytest

from deeplab_repro.crf.presets import PRESETS
from deeplab_repro.verify import read_published
from deeplab_repro.verify.answers import fact_answer
from deeplab_repro.verify.facts import SIDES, compute, gigaflops

HERE = [record for record in read_published().records if record.check == "here"]
NETS = [record for record in HERE if record.paper != "crf"]


@pytest.mark.parametrize("record", NETS, ids=lambda record: record.id)
def test_published_number_is_reproduced(record):
    answer = fact_answer(record)
    assert answer.verdict == "reproduced", answer


# The defaults of the older program are a preset without a published row.
@pytest.mark.parametrize("preset", sorted(set(PRESETS) - {"prog_refine_pascal"}))
def test_preset_is_the_published_setting(preset):
    answers = [fact_answer(record) for record in HERE if record.of == preset]
    assert [answer.verdict for answer in answers] == ["reproduced"] * 6


def test_a_number_that_is_off_differs():
    record = next(record for record in HERE if record.id == "R028")
    answer = fact_answer(replace(record, value=20.4))
    assert (answer.verdict, answer.ours) == ("differs", 20.505429)
    assert "tolerance of 0.05 M" in answer.detail


def test_unknown_quantity_is_refused():
    with pytest.raises(ValueError, match="unknown quantity 'weight'"):
        compute(replace(HERE[0], quantity="weight"))


def test_arithmetic_of_the_four_fc6_forms():
    """484 : 252 : 252 : 102; a row and a column more at the first pools make ours up to half a percent more."""
    costs = [gigaflops(name) for name in SIDES]
    assert costs == pytest.approx([484, 252, 252, 102], rel=0.007)
