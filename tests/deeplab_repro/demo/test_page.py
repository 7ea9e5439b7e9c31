import base64
import re
from dataclasses import replace

import numpy as np
import pytest

from deeplab_repro.demo.page import Photograph, Picture, Report, Scores, render_report, write_report
from deeplab_repro.evaluate.metrics import ConfusionMatrix


@pytest.fixture
def report():
    truth = np.array([[0, 0, 1, 1]], np.uint8)
    before, after = ConfusionMatrix(3), ConfusionMatrix(3)
    before.update(np.array([[0, 1, 1, 1]], np.uint8), truth)
    after.update(truth, truth)
    picture = Picture("input", np.zeros((4, 6, 3), np.uint8))
    return Report(
        title="Scores <of> a test",
        summary="A summary.",
        classes=("road", "sky & more", "never"),
        palette=np.array([[255, 0, 16], [0, 255, 0], [0, 0, 255]], np.uint8),
        photographs=[Photograph("cat", [picture, picture], {"road": 0.583, "sky & more": 0.417})],
        facts={"Device": "cpu"},
        checks=[("it held", True), ("it failed", False)],
        scores=Scores(before, after, 7),
    )


def test_report_needs_nothing_outside_itself(report):
    html = render_report(report)
    addresses = re.findall(r"(?:src|href|action|data)\s*=\s*\"([^\"]*)\"|url\(([^)]*)\)|@import\s+(\S+)", html)
    flat = [address for group in addresses for address in group if address]
    assert len(flat) == 3
    assert all(address.startswith("data:image/") for address in flat)
    assert "http:" not in html
    assert "https:" not in html
    assert "<script" not in html


def test_report_shows_scores_changes_and_checks(report):
    html = render_report(report)
    assert "Scores &lt;of&gt; a test" in html
    assert "sky &amp; more" in html
    assert "#ff0010" in html
    assert '<td class="up">+50.0</td>' in html  # road: 1/2 before, 1 after
    assert "58.3" in html
    assert "<td>–</td>" in html  # a class that never occurs has no IoU
    assert "✓</b>it held" in html
    assert "✗</b>it failed" in html


def test_without_labels_there_are_no_scores(report):
    html = render_report(replace(report, scores=None))
    assert "Scores on 7 labelled photographs" in render_report(report)
    assert "mean IoU" not in html
    assert "<table" not in html


def test_every_picture_says_what_it_is(report):
    html = render_report(report)
    pictures = re.findall(r"<img[^>]*>", html)
    assert len(pictures) == 3
    assert all(re.search(r'alt="[^"]+"', picture) for picture in pictures)
    assert all('scope="col"' in head for head in re.findall(r"<th\b[^>]*>", html))


def test_report_embeds_pictures_and_plots_whole(report):
    html = render_report(report)
    pngs = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", html)
    svgs = re.findall(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", html)
    assert [base64.b64decode(png)[:4] for png in pngs] == [b"\x89PNG"] * 2
    assert all(base64.b64decode(svg).rstrip().endswith(b"</svg>") for svg in svgs)
    assert len(svgs) == 1


def test_the_same_scores_give_the_same_file(report):
    assert render_report(report) == render_report(report)


def test_a_report_that_cannot_be_written_leaves_nothing(report, tmp_path):
    with pytest.raises(OSError, match="missing"):
        write_report(report, tmp_path / "missing" / "report.html")
    write_report(report, tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
