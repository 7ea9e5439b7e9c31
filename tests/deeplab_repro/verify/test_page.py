"""The page of all answers."""

import re
from dataclasses import replace

from deeplab_repro.verify import read_published
from deeplab_repro.verify.answers import (
    Answer,
)
from deeplab_repro.verify.page import render_page

PUBLISHED = read_published()


def test_page_shows_every_row_and_needs_nothing_else():
    answers = [Answer(record, "needs weights", detail="<b>") for record in PUBLISHED.records]
    answers[0] = replace(answers[0], verdict="differs", ours=403.0, per_class={"bird": 12.5, "cat": None})
    page = render_page(answers)
    for record in PUBLISHED.records[:-96]:  # CRF settings are shown by their preset
        assert f">{record.id}<" in page
    assert "&lt;b&gt;" in page
    assert "<b></td>" not in page
    assert "http" not in page
    assert "403 px" in page
    assert '<td>bird</td><td class="n">12.50 %</td>' in page
    assert "<td>cat</td>" not in page


def test_contents_lead_to_every_table_and_rows_can_be_filtered():
    page = render_page([Answer(record, "needs weights") for record in PUBLISHED.records])
    links, anchors = re.findall(r'href="#([^"]+)"', page), re.findall(r'<h[23] id="([^"]+)"', page)
    assert links == anchors
    assert len(set(anchors)) == len(anchors) > 4
    assert '<input id="filter" type="search"' in page
    assert page.count('<table class="lines">') == page.count("<h3 ")
    assert not re.search(r"<script[^>]*src=|<link|url\(|@import", page)
