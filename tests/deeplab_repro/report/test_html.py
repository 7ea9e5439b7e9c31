"""Pages that need nothing else."""

import base64
import io
import re

import jinja2
import numpy as np
import pytest
from PIL import Image

from deeplab_repro.report import html
from tests.paths import ROOT


@pytest.fixture
def template(tmp_path, monkeypatch):
    """template(text): its folder, as a package has it."""

    def write(text):
        (tmp_path / "t.j2").write_text(text, "utf-8")
        monkeypatch.setattr(html.resources, "files", lambda package: tmp_path)

    return write


def test_facts_are_escaped_and_filters_applied(template):
    template("{{ name }} {{ size | twice }}")
    assert html.render("package", "t.j2", {"twice": lambda n: 2 * n}, name="<b>&", size=3) == "&lt;b&gt;&amp; 6"


def test_a_fact_that_is_missing_is_an_error(template):
    template("{{ name }}")
    with pytest.raises(jinja2.UndefinedError, match="name"):
        html.render("package", "t.j2")


def test_pictures_are_inside_the_page():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 3), np.uint8)
    head, data = html.png_address(pixels).split(",")
    assert head == "data:image/png;base64"
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))), pixels)
    head, data = html.svg_address(b"<svg/>").split(",")
    assert head == "data:image/svg+xml;base64"
    assert base64.b64decode(data) == b"<svg/>"


def test_a_page_takes_the_shared_style(template):
    template('{% include "page.j2" %}')
    html.resources.files("any").joinpath("page.j2").write_text("<style>one</style>", "utf-8")
    assert html.render("package", "t.j2") == "<style>one</style>"


PAGES = sorted((ROOT / "deeplab_repro").rglob("*.html.j2"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_can_be_read_aloud_and_on_a_phone(page):
    """Its language and width are said, pictures have a text, columns a head, and wide tables scroll by themselves."""
    text = page.read_text("utf-8")
    assert '<html lang="en">' in text
    assert '{% include "page.j2" %}' in text
    for picture in re.findall(r"<img[^>]*>", text):
        assert re.search(r'alt="[^"]+"', picture), picture
    for head in re.findall(r"<th[ >][^>]*", text):
        assert 'scope="' in head, head
    regions = re.findall(r'<div class="[^"]*scroll" tabindex="0" role="region" aria-label="', text)
    assert len(regions) == len(re.findall(r"<table[^>]*>\s*(?:<thead>)?\s*<tr><th", text))
