"""Rows of the dense CRF: checked image by image, split into steps, named beside the original program."""

import json

from deeplab_repro.bench import crf
from deeplab_repro.bench.cases import CrfCase


def test_crf_row_holds_times():
    (row,) = crf.bench_crf([CrfCase("busy", height=20, width=24, labels=3, iterations=2)], "cpu", seconds=0)
    assert row["passed"]
    assert row["vertices_per_pixel"] > 0
    assert "ours" in crf.format_row(row)
    assert {"build", "rest"} <= set(row["split_ms"])
    assert sum(row["split_ms"].values()) > 0
    assert set(row["peak_mib"]) == set(row["times"])
    assert json.loads(json.dumps(row)) == row


def test_crf_batch_is_checked_image_by_image(monkeypatch):
    monkeypatch.setattr(crf, "peak_mib", lambda case, program: None)  # a process each
    (row,) = crf.bench_crf([CrfCase("busy", height=20, width=24, labels=3, iterations=2, batch=2)], "cpu", seconds=0)
    assert row["passed"]
    assert row["case"].endswith(" n2")


def test_crf_row_names_the_original_programs_speed():
    times = {"ours": {"median_ms": 2.0}, "pydensecrf": {"median_ms": 6.0}}
    row = {"case": "c", "vertices_per_pixel": 1, "passed": True, "times": times, "split_ms": {}, "peak_mib": {}}
    assert "the original program about 4.5x" in crf.format_row(row | {"over_original": 4.5})
