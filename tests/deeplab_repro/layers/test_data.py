"""Layers that write their bottoms to files."""

import h5py
import numpy as np
import pytest
import torch
from scipy.io import loadmat

from deeplab_repro.layers.data import open_sinks
from deeplab_repro.net.network import CaffeNet
from prototxt_import import parse_net

INPUT = 'input: "data" input_shape { %s }\n'


def test_mat_write_and_hdf5_output_write_what_caffe_writes(tmp_path, monkeypatch):
    """MatWrite writes each bottom to `<prefix><id>_blob_<i>.mat`, array dimensions (W,H,C,N)."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mats").mkdir()
    (tmp_path / "ids.txt").write_text("one.jpg x\ntwo.jpg x\nthree.jpg\n")
    text = (
        INPUT % "dim: 2 dim: 3 dim: 4 dim: 5"
        + """layer { name: "w" type: "MatWrite" bottom: "data" bottom: "data"
  mat_write_param { prefix: "mats/" source: "ids.txt" strip: 4 period: 2 } }
layer { name: "h" type: "HDF5Output" bottom: "data" bottom: "data" hdf5_output_param { file_name: "out.h5" } }"""
    )
    made = CaffeNet(parse_net(text, str(tmp_path / "n.prototxt")))
    x = torch.randn(2, 3, 4, 5)
    made(data=x)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ids.txt", "mats"]
    open_sinks(made.modules())
    made(data=x)
    names = [f"one_blob_{index}.mat" for index in (0, 1)]
    assert sorted(path.name for path in (tmp_path / "mats").iterdir()) == names
    for name in names:
        assert np.array_equal(loadmat(tmp_path / "mats" / name)["data"].transpose(3, 2, 1, 0), x.numpy())
    with h5py.File(tmp_path / "out.h5") as file:
        assert np.array_equal(file["data"], x)
        assert np.array_equal(file["label"], x)
    with pytest.raises(ValueError, match=r"'h' \(HDF5Output\): out.h5 holds a pass already"):
        made(data=x)


def test_sinks_write_nowhere_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = 'layer { name: "w" type: "MatWrite" bottom: "data" mat_write_param { prefix: "../" } }'
    made = CaffeNet(parse_net(INPUT % "dim: 1 dim: 1 dim: 2 dim: 2" + text, str(tmp_path / "n.prototxt")))
    open_sinks(made.modules())
    with pytest.raises(ValueError, match=r"'w' \(MatWrite\).*outside the folder"):
        made(data=torch.zeros(1, 1, 2, 2))
