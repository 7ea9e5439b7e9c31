"""What an error says, and the near names that it suggests."""

from __future__ import annotations

import pytest

from prototxt_import.errors import MAX_KNOWN, MAX_LENGTH, complain, nearest, other_file


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ({}, "is wrong"),
        ({"source": "n.prototxt"}, "n.prototxt: is wrong"),
        ({"source": "n.prototxt", "line": 3}, "n.prototxt:3: is wrong"),
        ({"line": 3}, "<net>:3: is wrong"),
        ({"layer": "c"}, "layer 'c': is wrong"),
        ({"source": "n", "layer": "c", "type_name": "Crop"}, "n: layer 'c' (Crop): is wrong"),
        ({"source": "n", "line": 1, "layer": "", "type_name": "Crop"}, "n:1: layer '' (Crop): is wrong"),
    ],
)
def test_the_place_stands_in_front(place, told):
    assert str(complain("is wrong", **place)) == told


def test_a_message_is_one_line_of_bounded_length():
    assert str(complain("a\nb\r\n c", source="n\t")) == "n : a b c"
    long = str(complain("x" * (2 * MAX_LENGTH)))
    assert len(long) == MAX_LENGTH
    assert long.endswith(" ...")


def test_the_nearest_name_is_suggested_whatever_its_case():
    assert nearest("conv", ["CONVOLUTION", "Conv"]) == "; did you mean 'Conv'?"
    assert nearest("datta", ["label", "data"]) == "; did you mean 'data'?"
    assert nearest("zzz", ["label", "data"]) == nearest("data", []) == ""


def test_only_the_first_of_many_names_are_compared():
    names = [f"{i:06}" for i in range(MAX_KNOWN)]
    assert nearest("needle", [*names, "needle"]) == ""
    assert nearest("needle", ["needle", *names]) == "; did you mean 'needle'?"


@pytest.mark.parametrize("head", [b"", b"name: 'n'", b"layer < name: 'a' >", b"\n\x05model", b"<layer"])
def test_what_may_be_caffes_is_no_other_file(head):
    assert other_file(head) == ""
