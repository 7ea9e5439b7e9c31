"""HDF5 models, and those that ask for much."""

from __future__ import annotations

import numpy as np
import pytest

from prototxt_import import CaffeFormatError, parse_net, read_net, read_weights, write_weights
from tests.prototxt_import.limits import MIB, lean, quick

h5py = pytest.importorskip("h5py")


def test_hdf5_links_and_foreign_data_are_not_followed(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["data/c/0"] = np.ones(3, "f4")
    cases = {
        "external link": lambda file: file.create_group("data").__setitem__(
            "c", h5py.ExternalLink("other.h5", "/data/c")
        ),
        "soft link": lambda file: file.create_group("data").__setitem__("c", h5py.SoftLink("/elsewhere")),
        "whole data": lambda file: file.__setitem__("data", h5py.ExternalLink("other.h5", "/data")),
        "external file": lambda file: file.create_dataset(
            "data/c/0", (3,), "f4", external=[(str(tmp_path / "other.h5"), 0, 12)]
        ),
    }
    layout = h5py.VirtualLayout((3,), "f4")
    layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "data/c/0", (3,))
    cases["virtual"] = lambda file: file.create_virtual_dataset("data/c/0", layout)
    for name, write in cases.items():
        path = tmp_path / f"{name}.caffemodel.h5"
        with h5py.File(path, "w") as file:
            write(file)
        with pytest.raises(CaffeFormatError, match=r"links are not followed|stored in another file"):
            read_weights(path)


def test_hdf5_arrays_larger_than_their_file_are_refused(tmp_path):
    for name, options in (("unwritten", {}), ("compressed", {"compression": "gzip", "chunks": (MIB,)})):
        path = tmp_path / f"{name}.h5"
        with h5py.File(path, "w") as file:
            data = file.create_dataset("data/c/0", (2**28,), "f4", **options)
            if options:
                data[: 4 * MIB] = 0
        with quick(200_000_000), lean(20), pytest.raises(CaffeFormatError, match="more than the file can hold"):
            read_weights(path)


def test_hdf5_of_endless_groups_is_refused(tmp_path):
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("data")
        group["again"] = group
    with quick(), pytest.raises(CaffeFormatError, match="nest deeper than 32"):
        read_weights(path)
    with h5py.File(path, "w") as file:
        file["data/c/many"] = np.ones(3, "f4")
    with pytest.raises(CaffeFormatError, match="'c/many' is no numbered blob"):
        read_weights(path)


def test_hdf5_models_are_read(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "m.caffemodel.h5", "w") as file:
        file["data/c/0"] = np.arange(6, dtype=np.float32).reshape(2, 3)
        file["data/c/1"] = np.ones(2, np.float32)
        file.create_group("data/shared_with_c")
    weights = read_weights(tmp_path / "m.caffemodel.h5")
    assert list(weights) == ["c"]
    assert [blob.shape for blob in weights["c"]] == [(2, 3), (2,)]


def test_differences_beside_the_blobs_are_passed_over(tmp_path):
    with h5py.File(tmp_path / "m.caffemodel.h5", "w") as file:
        file["data/c/0"] = np.ones(3, "f4")
        file["diff/c/0"] = np.zeros(3, "f4")
    assert {
        name: [blob.tolist() for blob in blobs] for name, blobs in read_weights(tmp_path / "m.caffemodel.h5").items()
    } == {"c": [[1, 1, 1]]}


SHARING = """input: "x" input_dim: [1, 3, 5, 5]
layer { name: "ca" type: "Convolution" bottom: "x" top: "a" param { name: "w" } param { name: "b" }
  convolution_param { num_output: 3 kernel_size: 1 } }
layer { name: "r" type: "ReLU" bottom: "a" top: "a" }
layer { name: "scale/deep" type: "Power" bottom: "a" top: "p" }
layer { name: "cb" type: "Convolution" bottom: "p" top: "y" param { name: "w" } param { name: "b" }
  convolution_param { num_output: 3 kernel_size: 1 } }
"""


def test_every_layer_has_a_group_be_it_empty_as_caffe_writes_them(tmp_path):
    spec = parse_net(SHARING)
    blobs = [np.arange(9, dtype=np.float32).reshape(3, 3, 1, 1), np.ones(3, np.float32)]
    path = tmp_path / "m.caffemodel.h5"
    write_weights({"ca": blobs, "cb": blobs}, spec, path)
    with h5py.File(path) as file:
        data = file["data"]
        assert set(data) == {"ca", "r", "scale", "cb"}
        assert list(data["ca"]) == ["0", "1"]
        assert [list(data[name]) for name in ("r", "scale/deep", "cb")] == [[], [], []]
        assert all(isinstance(data[name], h5py.Group) for name in ("r", "scale/deep", "cb"))


@pytest.mark.parametrize("groups", [["cb", "r", "scale/deep"], ["cb"], []])
def test_empty_groups_are_no_blobs_and_a_sharer_s_takes_its_owner_s(tmp_path, groups):
    (tmp_path / "n.prototxt").write_text(SHARING)
    path = tmp_path / "m.caffemodel.h5"
    weight, bias = np.arange(9, dtype=np.float32).reshape(3, 3, 1, 1), np.ones(3, np.float32)
    with h5py.File(path, "w") as file:
        file["data/ca/0"], file["data/ca/1"] = weight, bias
        for name in groups:
            file.create_group(f"data/{name}")
    assert list(read_weights(path)) == ["ca"]
    spec = read_net(tmp_path / "n.prototxt", path)
    assert (spec.missing_weights, spec.unused_weights) == ((), ())
    for name in ("ca", "cb"):
        assert all(np.array_equal(a, b) for a, b in zip(spec.weights[name], (weight, bias), strict=True))
