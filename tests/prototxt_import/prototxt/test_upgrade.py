"""Old layer formats made new, and the dialect that a text is in."""

from __future__ import annotations

import pytest

from prototxt_import import parse_net, read_net
from tests.prototxt_import.texts import HEAD, conv, refusal

UPGRADES = [
    ("v0_binary", "v0", "upgraded_v1"),
    ("v0_binary", "v0", "upgraded_v2"),
    ("v0_text", "v0", "upgraded_v1"),
    ("v0_text", "v0", "upgraded_v2"),
    ("v1_binary", "v1", "upgraded_v2"),
    ("v1_to_v2", "old", "upgraded"),
    ("x2_input_bn", "old", "upgraded"),
]


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
@pytest.mark.parametrize(("case", "old", "new"), UPGRADES)
def test_old_formats_equal_caffes_own_upgrade(shared_caffe, case, old, new, phase):
    folder = shared_caffe / "upgrade" / case
    before, after = (read_net(folder / f"{one}.prototxt", phase=phase) for one in (old, new))
    assert before.layers == after.layers
    assert before.inputs == after.inputs
    assert before == after


def test_v1_hole_is_read_as_dilation_and_0_as_1():
    def dilation(fields):
        return (
            parse_net(HEAD + conv("c", "x", fields=f"num_output: 1 kernel_size: 2 {fields}")).layers[0].options.dilation
        )

    assert dilation("hole: 2") == dilation("dilation: 2") == dilation("hole_h: 2 hole_w: 2") == (2, 2)
    assert dilation("hole_h: 3 hole_w: 2") == dilation("dilation: 3 dilation: 2") == (3, 2)
    assert dilation("hole: 0") == dilation("dilation: 0") == (1, 1)


def test_hole_is_accepted_in_second_format_text_and_conflicts_are_refused():
    assert parse_net(HEAD + conv("c", "x", fields="num_output: 1 kernel_size: 2 hole: 4")).dialect == "v2"
    assert "disagree" in refusal(HEAD + conv("c", "x", fields="num_output: 1 kernel_size: 2 hole: 4 dilation: 2"))


def test_v1_types_may_be_numbers():
    spec = parse_net(HEAD + 'layers { type: 18 name: "r" bottom: "x" top: "y" }')
    assert spec.layers[0].type == "ReLU"
