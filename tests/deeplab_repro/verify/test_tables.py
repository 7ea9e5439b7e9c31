"""The tables of published numbers in docs/results.md."""

from dataclasses import replace

import pytest

from deeplab_repro.verify import read_published
from deeplab_repro.verify.tables import BEGIN, END, PAGE, main, tables, updated
from tests.paths import ROOT


def test_the_page_holds_the_tables_of_the_records():
    text = (ROOT / PAGE).read_text("utf-8")
    assert updated(text) == text, "run `make tables`"


def test_a_changed_number_changes_the_tables():
    records = list(read_published().records)
    changed = [replace(record, value=20.4) if record.id == "R028" else record for record in records]
    assert tables(records) != tables(changed)
    assert "| 20.4 M | 20.5054 M | differs |" in tables(changed)
    assert "| 96 | 96 | settings match |" in tables(records)


def test_only_what_is_between_the_markers_is_written(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", "utf-8")
    main([str(page)])
    text = page.read_text("utf-8")
    assert text.startswith(f"before\n{BEGIN}\n\n| source |")
    assert text.endswith(f"|\n\n{END}\nafter\n")
    assert "old" not in text


@pytest.mark.parametrize("text", ["", BEGIN, f"{END}{BEGIN}", f"{BEGIN}{END}{BEGIN}"])
def test_pages_without_their_markers_are_refused(text):
    with pytest.raises(ValueError, match=r"page\.md: must hold the lines"):
        updated(text, "page.md")
