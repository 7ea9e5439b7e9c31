"""Tables of TOML files as records."""

from dataclasses import dataclass

import pytest

from deeplab_repro.files.tables import read_toml, typed_row


@dataclass(frozen=True)
class Row:
    name: str
    sizes: tuple[int, ...] = ()
    place: str = ""


def test_arrays_become_tuples_and_defaults_stand():
    assert typed_row(Row, {"name": "a", "sizes": [1, 2]}, "t.toml: a") == Row("a", (1, 2))
    assert typed_row(Row, {"name": "a"}, "t.toml: a", place="here") == Row("a", (), "here")


@pytest.mark.parametrize(
    ("row", "given", "message"),
    [
        ({"name": "a", "size": 1}, {}, "t.toml: a: unknown field 'size'"),
        ({}, {}, "t.toml: a: name is missing"),
        ({"name": "a", "place": "there"}, {"place": "here"}, "t.toml: a: unknown field 'place'"),
    ],
)
def test_fields_that_are_unknown_missing_or_not_the_tables_are_refused(row, given, message):
    with pytest.raises(ValueError, match=message):
        typed_row(Row, row, "t.toml: a", **given)


def test_files_that_are_no_toml_are_named(tmp_path):
    (tmp_path / "a.toml").write_text("[a]\nb = 1\n")
    assert read_toml(tmp_path / "a.toml") == {"a": {"b": 1}}
    (tmp_path / "a.toml").write_text("b =")
    with pytest.raises(ValueError, match=r"a\.toml: not TOML: "):
        read_toml(tmp_path / "a.toml")
    with pytest.raises(FileNotFoundError):
        read_toml(tmp_path / "none.toml")
