"""Feeds of arrays: HDF5, memory, dummies, MATLAB files."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from deeplab_repro.data.feeds.feeds import open_feeds
from prototxt_import import CaffeFormatError, parse_net, read_net
from tests.paths import SHARED

RECORDED = SHARED / "golden" / "caffe"


def test_hdf5_rows_run_on_across_files_and_wrap(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for i, count in enumerate((3, 2)):
        with h5py.File(f"{i}.h5", "w") as file:
            file["data"] = np.arange(count, dtype=np.float32)[:, None] + 10 * i
    Path("list.txt").write_text("0.h5\n1.h5\n")
    text = 'layer { name: "d" type: "HDF5Data" top: "%s" hdf5_data_param { source: "list.txt" batch_size: 4 %s } }'
    with open_feeds(parse_net(text % ("data", ""))) as feeds:
        assert [feeds.next()["data"].flatten().tolist() for _ in range(2)] == [[0, 1, 2, 10], [11, 0, 1, 2]]
        state = feeds.state_dict()
        expected = feeds.next()["data"]
        feeds.load_state_dict(state)
        assert torch.equal(feeds.next()["data"], expected)
    with open_feeds(parse_net(text % ("data", "shuffle: true")), 4) as feeds:
        rows = torch.cat([feeds.next()["data"] for _ in range(5)]).flatten().tolist()
        assert sorted(rows) == sorted([0, 1, 2, 10, 11] * 4)
    with h5py.File("1.h5", "a") as file:
        file.create_group("group")
    for top in ("other", "group"):
        with pytest.raises(CaffeFormatError, match=f"holds no data set '{top}'"):
            open_feeds(parse_net(text % (top, "")))


def test_memory_data_gives_rows_in_turn():
    text = 'layer { name: "m" type: "MemoryData" top: "x" top: "y" memory_data_param { %s } }'
    spec = parse_net(text % "batch_size: 2 channels: 1 height: 1 width: 1")
    rows = {"x": np.arange(4).reshape(4, 1, 1, 1), "y": np.arange(4)}
    with open_feeds(spec, arrays=rows) as feeds:
        assert [feeds.next()["y"].tolist() for _ in range(3)] == [[0, 1], [2, 3], [0, 1]]
    with pytest.raises(ValueError, match="multiple of batch_size 2"):
        open_feeds(spec, arrays={"x": rows["x"][:3], "y": rows["y"][:3]})


def test_hdf5_rows_have_four_axes_in_v1(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with h5py.File("0.h5", "w") as file:
        file["data"], file["label"] = np.zeros((2, 3, 4, 5), np.float32), np.float32([6, 7])
        file["flat"] = np.zeros((2, 3), np.float32)
    Path("list.txt").write_text("0.h5\n")
    text = (
        'layers { name: "d" type: HDF5_DATA top: "data" top: "label" top: "flat" '
        'hdf5_data_param { source: "list.txt" batch_size: 2 } }'
    )
    with open_feeds(parse_net(text, dialect="v1")) as feeds:
        batch = feeds.next()
    assert {name: tuple(values.shape) for name, values in batch.items()} == {
        "data": (2, 3, 4, 5),
        "label": (2, 1, 1, 1),
        "flat": (2, 3, 1, 1),
    }


def test_memory_data_gives_the_third_top_of_v1():
    text = (
        'layers { name: "m" type: MEMORY_DATA top: "x" top: "y" top: "size" '
        "memory_data_param { batch_size: 2 channels: 1 height: 1 width: 1 } }"
    )
    rows = {"x": np.arange(4), "y": np.arange(4), "size": np.arange(8).reshape(4, 2)}
    with open_feeds(parse_net(text, dialect="v1"), arrays=rows) as feeds:
        first, second = feeds.next(), feeds.next()
    assert first["y"].shape == (2, 1, 1, 1)
    assert first["size"].shape == (2, 1, 1, 2)
    assert second["size"].flatten().tolist() == [4, 5, 6, 7]
    del rows["size"]
    with pytest.raises(ValueError, match="needs arrays for 'size'"):
        open_feeds(parse_net(text, dialect="v1"), arrays=rows)


def test_dummy_data_keeps_constants_and_draws_the_rest_anew():
    spec = parse_net(
        'layer { name: "m" type: "DummyData" top: "a" top: "b" dummy_data_param { shape { dim: 2 } shape { dim: 3 } '
        'data_filler { type: "constant" value: 4 } data_filler { type: "uniform" } } }'
    )
    with open_feeds(spec, 1) as feeds:
        first, second = feeds.next(), feeds.next()
    assert first["a"].tolist() == second["a"].tolist() == [4, 4]
    assert not torch.equal(first["b"], second["b"])


@pytest.mark.skipif(not RECORDED.exists(), reason="needs ../shared/golden/caffe")
@pytest.mark.parametrize("case", ["hdf5_two_files", "mat_read_list"])
def test_rows_and_mat_files_are_those_the_fork_read(case, monkeypatch):
    monkeypatch.chdir(RECORDED / "io" / case)
    recorded = np.load("data.npz")
    with open_feeds(read_net("net.prototxt")) as feeds:
        batches = [feeds.next() for _ in range(3)]
    for name in recorded.files:
        got = torch.cat([rows[name] for rows in batches]).numpy()
        np.testing.assert_array_equal(got, recorded[name].reshape(-1, *got.shape[1:])[: len(got)])
