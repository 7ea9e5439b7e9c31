"""Pages that need nothing else."""

import base64
import io

import jinja2
import numpy as np
import pytest
from PIL import Image

from deeplab_repro.report import html


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
