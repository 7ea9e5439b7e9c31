"""Rows of the data layer beside a port's loader."""

from deeplab_repro.bench import data


def test_data_rows_compare_batches_and_name_every_loader(monkeypatch):
    for name, small in (("SIZE", (60, 80)), ("CROP", 33), ("BATCH", 2)):
        monkeypatch.setattr(data, name, small)
    rows = data.bench_data(seconds=0, workers=(("thread", 0), ("thread", 1)), images=2)
    assert [row["passed"] for row in rows] == [True, True]
    assert "port" in data.format_row(rows[0])
