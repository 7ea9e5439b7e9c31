"""Models written."""

from __future__ import annotations

import numpy as np
import pytest

from prototxt_import import CaffeFormatError, ParamSpec, layer, make_net, schema, write_weights


@pytest.mark.parametrize(("dialect", "hole"), [("v1", 2), ("v2", 2)])
def test_what_is_written_parses_with_the_dialects_own_schema(tmp_path, dialect, hole):
    spec = make_net(
        "n", {"x": (1, 2, 9, 9)}, [layer("Convolution", "c", "x", "c", num_output=3, kernel=3, dilation=hole)]
    )
    blobs = {"c": [np.arange(54, dtype=np.float32).reshape(3, 2, 3, 3), np.ones(3, np.float32)]}
    path = tmp_path / "m.caffemodel"
    write_weights(blobs, spec, path, dialect)
    net = schema.message(dialect, "NetParameter").FromString(path.read_bytes())
    if dialect == "v1":
        (stored,) = net.layers
        assert stored.LayerType.Name(stored.type) == "CONVOLUTION"
        assert stored.convolution_param.hole == hole
        bias = stored.blobs[1]
        assert (bias.num, bias.channels, bias.height, bias.width) == (1, 1, 1, 3)
        assert not bias.HasField("shape")
    else:
        (stored,) = net.layer
        assert list(stored.convolution_param.dilation) == [hole]
        assert list(stored.blobs[1].shape.dim) == [3]
    assert list(stored.bottom) == ["x"]
    assert list(stored.blobs[0].data) == list(range(54))


def test_failed_writing_leaves_nothing_behind(tmp_path):
    spec = make_net("n", {"x": (1, 2, 9, 9)}, [layer("Convolution", "c", "x", "c", num_output=3, kernel=3)])
    with pytest.raises(CaffeFormatError, match=r"layer 'c' .* do not fit"):
        write_weights({"c": [np.zeros(3, np.float32)]}, spec, tmp_path / "m.caffemodel")
    with pytest.raises(CaffeFormatError, match="no layer 'd'"):
        write_weights({"d": []}, spec, tmp_path / "m.caffemodel")
    with pytest.raises(CaffeFormatError, match="cannot be written"):
        write_weights({}, spec, tmp_path / "no" / "m.caffemodel")
    assert not list(tmp_path.iterdir())


def test_hdf5_has_a_group_for_every_layer_and_shared_blobs_under_their_owner(tmp_path):
    h5py = pytest.importorskip("h5py")

    def inner(name, bottom):
        return layer("InnerProduct", name, bottom, name, num_output=3, bias_term=False, params=[ParamSpec("w")])

    spec = make_net("n", {"x": (1, 3)}, [inner("a", "x"), layer("ReLU", "r", "a", "a"), inner("b", "a")])
    weight = np.eye(3, dtype=np.float32)
    write_weights({"a": [weight], "b": [weight]}, spec, tmp_path / "m.caffemodel.h5")
    with h5py.File(tmp_path / "m.caffemodel.h5") as file:
        assert {name: list(group) for name, group in file["data"].items()} == {"a": ["0"], "b": [], "r": []}
        assert file["data/a/0"].dtype == np.float32
    write_weights({"a": [weight], "b": [weight]}, spec, tmp_path / "m.caffemodel")
    net = schema.message("v2", "NetParameter").FromString((tmp_path / "m.caffemodel").read_bytes())
    assert [len(layer.blobs) for layer in net.layer] == [1, 0, 1]
