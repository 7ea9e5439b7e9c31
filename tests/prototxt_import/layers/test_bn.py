"""BN: which of the two layers of that name a text means, and what its fields come to."""

from __future__ import annotations

import numpy as np
import pytest

from prototxt_import import CaffeFormatError, net_text, parse_net, write_weights

HEAD = 'input: "x" input_dim: 2 input_dim: 3 input_dim: 5 input_dim: 7\n'


def bn(fields: str = "", tops: str = 'top: "y"') -> str:
    return f'{HEAD}layer {{ name: "bn" type: "BN" bottom: "x" {tops} {fields} }}'


def test_field_names_tell_the_layer():
    four = parse_net(bn("bn_param { momentum: 0.95 }"))
    assert (four.dialect, four.layers[0].options.blobs) == ("pspnet", 4)
    two = parse_net(bn("bn_param { shift_filler { value: 0.1 } bn_mode: INFERENCE }"))
    assert (two.dialect, two.layers[0].options.blobs) == ("segnet", 2)
    assert four.param_shapes["bn"] == ((1, 3, 1, 1),) * 4
    assert two.param_shapes["bn"] == ((1, 3, 1, 1),) * 2


@pytest.mark.parametrize("blobs", [2, 4])
def test_without_fields_the_weights_tell(blobs, tmp_path):
    arrays = [np.full((1, 3, 1, 1), i, np.float32) for i in range(blobs)]
    write_weights({"bn": arrays}, None, tmp_path / "w.caffemodel")
    spec = parse_net(bn(), weights=tmp_path / "w.caffemodel")
    assert spec.layers[0].options.blobs == blobs
    assert len(spec.weights["bn"]) == blobs


def test_without_fields_and_weights_the_dialect_tells_or_it_is_refused():
    assert parse_net(bn(), dialect="pspnet").layers[0].options.blobs == 4
    assert parse_net(bn(), dialect="enet").layers[0].options.blobs == 2
    with pytest.raises(
        CaffeFormatError, match=r"layer 'bn' \(BN\): bn_param has no field that tells .*give the weights"
    ):
        parse_net(bn())
    with pytest.raises(CaffeFormatError, match=r"layer 'bn' \(BN\): bn_param gives frozen, .* beside bn_mode"):
        parse_net(bn("bn_param { frozen: true bn_mode: LEARN }"))


def test_moving_blobs_never_train_whatever_the_file_says():
    rates = "param { lr_mult: 1 } param { lr_mult: 2 } param { lr_mult: 3 decay_mult: 1 } param { lr_mult: 4 }"
    params = parse_net(bn(f"{rates} bn_param {{ momentum: 0.9 }}")).layers[0].params
    assert [param.lr_mult for param in params] == [1, 2, 0, 0]
    assert [param.decay_mult for param in params] == [1, 1, 0, 0]
    frozen = parse_net(bn(f"{rates} bn_param {{ frozen: true }}")).layers[0].params
    assert {param.lr_mult for param in frozen} == {0}


def test_extra_tops_belong_to_segnets_learn():
    tops = 'top: "y" top: "m" top: "v"'
    spec = parse_net(bn("bn_param { bn_mode: LEARN }", tops))
    assert spec.blobs["m"] == spec.blobs["v"] == (1, 3, 1, 1)
    for fields in ("bn_mode: INFERENCE", "frozen: true"):
        with pytest.raises(CaffeFormatError, match="a second and third top"):
            parse_net(bn(f"bn_param {{ {fields} }}", tops))


@pytest.mark.parametrize(
    ("fields", "dialect"),
    [("slope_filler { value: 1 } momentum: 0.95 frozen: true", "pspnet"), ("bn_mode: INFERENCE", "segnet")],
)
def test_written_and_read_again(fields, dialect):
    spec = parse_net(bn(f"bn_param {{ {fields} }}"))
    for form in (dialect, "text"):
        assert parse_net(net_text(spec, form)) == spec
    with pytest.raises(CaffeFormatError, match=r"layer 'bn' \(BN\): the bvlc dialect has no such layer"):
        net_text(spec, "bvlc")
