"""Rows of the importer beside other readers of the same file."""

import numpy as np

from deeplab_repro.bench import importer


def test_importer_row_compares_blobs_and_measures_each_reader():
    (row,) = importer.bench_importer(seconds=0, stages=((4, 8, 1),))
    assert {"bytes", "ours", "protobuf"} <= set(row["times"])
    assert row["blobs"] == 5 * 6 + 4 + 2 * 4 - 4
    assert "blobs differ" not in row["wrong"]
    assert "ours" in importer.format_row(row)


def test_importer_case_is_of_resnet_101s_size():
    spec = importer.resnet_spec()
    sizes = [np.prod(shape) for shapes in spec.param_shapes.values() for shape in shapes]
    assert 43_500_000 < sum(sizes) < 44_500_000
