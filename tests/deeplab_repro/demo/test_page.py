import base64
import re

import numpy as np
import pytest

from deeplab_repro.demo.page import Picture, SceneRow, ScoreReport, render_report, write_report
from deeplab_repro.evaluate.metrics import ConfusionMatrix


@pytest.fixture
def report():
    truth = np.array([[0, 0, 1, 1]], np.uint8)
    before, after = ConfusionMatrix(3), ConfusionMatrix(3)
    before.update(np.array([[0, 1, 1, 1]], np.uint8), truth)
    after.update(truth, truth)
    picture = Picture("input", np.zeros((4, 6, 3), np.uint8))
    return ScoreReport(
        title="Scores <of> a test",
        summary="A summary.",
        classes=("road", "sky & more", "never"),
        palette=np.array([[255, 0, 16], [0, 255, 0], [0, 0, 255]], np.uint8),
        before=before,
        after=after,
        recorded=(0.5, 1.0),
        scenes=[SceneRow("Scene 1", [picture, picture], 0.58, 1.0)],
        facts={"Device": "cpu"},
        checks=[("it held", True), ("it failed", False)],
    )


def test_report_needs_nothing_outside_itself(report):
    html = render_report(report)
    addresses = re.findall(r"(?:src|href|action|data)\s*=\s*\"([^\"]*)\"|url\(([^)]*)\)|@import\s+(\S+)", html)
    flat = [address for group in addresses for address in group if address]
    assert len(flat) == 4
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


def test_report_embeds_pictures_and_plots_whole(report):
    html = render_report(report)
    pngs = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", html)
    svgs = re.findall(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", html)
    assert [base64.b64decode(png)[:4] for png in pngs] == [b"\x89PNG"] * 2
    assert all(base64.b64decode(svg).rstrip().endswith(b"</svg>") for svg in svgs)
    assert len(svgs) == 2


def test_the_same_scores_give_the_same_file(report):
    assert render_report(report) == render_report(report)


def test_a_report_that_cannot_be_written_leaves_nothing(report, tmp_path):
    with pytest.raises(OSError, match="missing"):
        write_report(report, tmp_path / "missing" / "report.html")
    write_report(report, tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
