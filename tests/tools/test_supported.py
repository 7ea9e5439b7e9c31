"""docs/supported.md says what the tables say."""

from prototxt_import.layers import lookup
from tests.tools import supported


def test_the_page_is_what_the_tables_say():
    assert supported.PAGE.read_text(encoding="utf-8") == supported.page()


def test_counts_are_kept_where_the_recordings_are_not_at_hand(monkeypatch, tmp_path):
    counted = supported.recorded()
    monkeypatch.setattr(supported, "SHARED", tmp_path)
    kept = supported.recorded()
    assert {name: text for name, text in kept.items() if text != "-"} == {
        name: text for name, text in counted.items() if name in kept
    }


def test_a_type_that_loses_its_module_changes_its_row(monkeypatch):
    row = lookup("ReLU")
    before = supported.layer_row(row, {})
    monkeypatch.setattr(supported, "has_module", lambda name: False)
    assert before.split(" | ")[2:4] == ["yes", "yes"]
    assert supported.layer_row(row, {}).split(" | ")[2:4] == ["-", "-"]
