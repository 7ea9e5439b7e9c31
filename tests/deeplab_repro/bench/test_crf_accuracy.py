"""The lattice's error against the exact mode, on drawn scenes and on photographs."""

import cv2
import numpy as np
import pytest

from deeplab_repro.bench import crf_accuracy


def test_lattice_error_is_measured_on_drawn_scenes(monkeypatch, tmp_path):
    monkeypatch.setattr(crf_accuracy, "PHOTOGRAPHS", tmp_path)
    monkeypatch.setattr(crf_accuracy, "LABELS", 3)
    rows = crf_accuracy.bench_accuracy("cpu", count=1, size=24, only="4/49/5")
    assert [row["case"] for row in rows] == ["4/49/5 it1", "4/49/5 it10"]
    for row in rows:
        assert "1 drawn scenes cropped to 24x24" in row["images"]
        assert 0 < row["mean_dq"] < row["max_dq"] <= 1
        assert row["labels_differing"] < 0.2
        assert "max|dQ|" in crf_accuracy.format_row(row)
    with pytest.raises(ValueError, match=r"no \.jpg or \.png image"):
        crf_accuracy.bench_accuracy("cpu", tmp_path)


def test_accuracy_reads_a_folder_of_photographs(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((40, 30, 3), 200, np.uint8))
    crops, source = crf_accuracy._crops(tmp_path, 2, 32)
    assert [crop.shape for crop in crops] == [(32, 30, 3)]
    assert source == "1 photographs cropped to 32x32"
