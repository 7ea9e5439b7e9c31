"""The page of a comparison."""

import html
import re

import numpy as np

from tests.deeplab_repro.inspect.recordings import golden


def test_the_page_needs_nothing_else(tmp_path, toy, blobs, deeplab):
    changed = {"out/fc": blobs["fc"] + 1, "out/other": np.zeros(2)}
    path = golden(tmp_path / "g.npz", blobs, **changed)
    page = tmp_path / "diff.html"
    result = deeplab("diff", toy.prototxt, toy.caffemodel, "--golden", path, "--html", page)
    assert result.exit_code == 1
    text = page.read_text()
    assert not re.search(r"https?:|src=|href=|url\(|@import", text)
    assert text.count('<tr class="off">') == 2
    assert 'role="region" aria-label="differences, ' in text
    assert "prefers-color-scheme: dark" in text
    assert result.stdout.splitlines()[-1] in html.unescape(text)
    assert deeplab("diff", toy.prototxt, toy.caffemodel, "--golden", tmp_path / "no.npz", "--html", page).exit_code == 2
    assert page.read_text() == text
