"""Options that several verbs share, as text and as values."""

import pytest

from deeplab_repro.cli import options


def test_variables_are_names_and_values():
    assert options.parse_variables(None) == {}
    assert options.parse_variables(["A=1", "B=x=y", "C="]) == {"A": "1", "B": "x=y", "C": ""}


@pytest.mark.parametrize("pair", ["A", "=1", ""])
def test_variables_without_name_or_sign_are_refused(pair):
    with pytest.raises(ValueError, match=f"--var {pair}: must be NAME=VALUE"):
        options.parse_variables([pair])


def test_stages_may_be_repeated_or_joined_by_commas():
    assert options.parse_net_options(["A=1"], "v2", ["a,b", "c", ","], None) == {
        "variables": {"A": "1"},
        "dialect": "v2",
        "level": 0,
        "stages": ("a", "b", "c"),
    }
    assert options.parse_net_options(None, "auto", None, 3)["level"] == 3


def test_phases_in_either_case():
    assert [options.parse_phase(text) for text in ("train", "Test")] == ["TRAIN", "TEST"]
    with pytest.raises(ValueError, match="--phase VAL: must be TRAIN or TEST"):
        options.parse_phase("VAL")


def test_numbers_have_commas_between_them():
    assert options.parse_numbers("--scales", "1,0.75, 2") == (1, 0.75, 2)
    for text in ("", "1,,2", "1;2"):
        with pytest.raises(ValueError, match=f"--scales {text}: must be numbers"):
            options.parse_numbers("--scales", text)


def test_sizes_are_height_by_width():
    assert options.parse_size("65x73") == options.parse_size("65X73") == (65, 73)
    for text in ("65", "65x", "0x9", "-1x9", "1x2x3", "axb", ""):
        with pytest.raises(ValueError, match=f"--size {text}: must be HEIGHTxWIDTH"):
            options.parse_size(text)


def test_patterns_become_the_files_they_match(tmp_path):
    for name in ("a.txt", "b.txt", "[c].txt"):
        (tmp_path / name).touch()
    assert options.expanded([tmp_path / "?.txt", tmp_path / "[c].txt", tmp_path / "gone"]) == [
        tmp_path / name for name in ("a.txt", "b.txt", "[c].txt", "gone")
    ]
    with pytest.raises(ValueError, match="matches no file"):
        options.expanded([tmp_path / "*.png"])
