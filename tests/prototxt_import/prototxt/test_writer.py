"""What is written reads back as the same net."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st

from prototxt_import import (
    CaffeFormatError,
    Filler,
    ParamSpec,
    layer,
    make_net,
    net_text,
    parse_net,
    read_net,
    schema,
    write_net,
    write_weights,
)
from prototxt_import.layers.messages import single

SIZE = st.integers(1, 3)
PAIR = st.tuples(SIZE, SIZE)
SINGLE = st.floats(width=32, allow_nan=False, allow_infinity=False).map(single)


@pytest.mark.parametrize("dialect", ["v1", "v2"])
@pytest.mark.parametrize("name", ["v1_largefov_oldformat", "v1_msc_largefov_released", "v2_largefov", "v2_aspp_l"])
def test_published_nets_survive_a_round_trip_in_either_dialect(golden, tmp_path, name, dialect):
    spec = read_net(golden / name / "net.prototxt", golden / name / "weights.caffemodel")
    write_net(spec, tmp_path / "net.prototxt", dialect)
    write_weights(spec.weights, spec, tmp_path / "w.caffemodel", dialect)
    again = read_net(tmp_path / "net.prototxt", tmp_path / "w.caffemodel")
    assert again == spec
    assert again.dialect == dialect
    for key, blobs in spec.weights.items():
        assert [blob.tobytes() for blob in blobs] == [blob.tobytes() for blob in again.weights[key]]


def test_shared_parameters_and_losses_survive_a_round_trip(golden):
    spec = read_net(golden / "v2_res_msc_train" / "net.prototxt", phase="TRAIN")
    assert parse_net(net_text(spec, "v2"), phase="TRAIN") == spec


@pytest.mark.parametrize(("name", "dialect"), [("v1_noup_train", "v1"), ("v2_msc_largefov_released_train", "v2")])
def test_text_parses_with_the_dialects_own_schema(golden, name, dialect):
    spec = read_net(golden / name / "net.prototxt", phase="TRAIN")
    text_format.Parse(net_text(spec, dialect), schema.message(dialect, "NetParameter")())


@given(
    kernel=PAIR,
    stride=PAIR,
    pad=PAIR,
    dilation=PAIR,
    bias=st.booleans(),
    std=SINGLE,
    lr=SINGLE,
    dialect=st.sampled_from(["v1", "v2"]),
)
def test_any_convolution_survives_a_round_trip(kernel, stride, pad, dilation, bias, std, lr, dialect):
    convolution = layer(
        "Convolution",
        "c",
        "x",
        "c",
        num_output=4,
        kernel=kernel,
        stride=stride,
        pad=pad,
        dilation=dilation,
        bias_term=bias,
        weight_filler=Filler("gaussian", std=std),
        params=[ParamSpec("w", lr, 0.0)],
    )
    spec = make_net('a "quoted" näme\n', {"x": (1, 2, 20, 20)}, [convolution], force_backward=True)
    assert parse_net(net_text(spec, dialect)) == spec


def test_what_a_dialect_cannot_say_is_refused_by_layer():
    size = {"x": (1, 2, 9, 9)}
    norm = make_net("n", size, [layer("BatchNorm", "b", "x", "y")])
    with pytest.raises(CaffeFormatError, match=r"layer 'b' \(BatchNorm\): the v1 dialect has no such layer"):
        net_text(norm, "v1")
    crop = make_net("n", size, [layer("Padding", "p", "x", "y", pad_beg=1)])
    with pytest.raises(CaffeFormatError, match=r"layer 'p' \(Padding\): the v2 dialect has no such layer"):
        net_text(crop, "v2")
    both = make_net("n", size, [layer("Interp", "i", "x", "y", zoom_factor=3, shrink_factor=4)])
    with pytest.raises(CaffeFormatError, match="cannot shrink and zoom"):
        net_text(both, "v1")


def test_files_are_replaced_whole(tmp_path):
    spec = make_net("n", {"x": (1, 2)}, [layer("InnerProduct", "i", "x", "y", num_output=3)])
    path = tmp_path / "w.caffemodel"
    for value in (1, 2):
        write_weights({"i": [np.full((3, 2), value), np.zeros(3)]}, spec, path)
    assert [file.name for file in tmp_path.iterdir()] == ["w.caffemodel"]
