"""CCNN's DenseCRF, told from DeepLab's by its message."""

from __future__ import annotations

import pytest

from prototxt_import import CaffeFormatError, net_text, parse_net

HEAD = 'input: "x" input_dim: 2 input_dim: 4 input_dim: 5 input_dim: 7 '
IMAGE = 'input: "i" input_dim: 2 input_dim: 3 input_dim: 5 input_dim: 7\n'


def crf(fields: str, image: str = IMAGE) -> str:
    layer = 'layer { name: "crf" type: "DenseCRF" bottom: "x" bottom: "i" top: "y" densecrf_param { %s } }'
    return HEAD + image + layer % fields


def test_the_message_tells_the_layer():
    spec = parse_net(crf("x_gauss: 19 wt_bilateral: 35"))
    options = spec.layers[0].options
    assert (spec.layers[0].type, spec.blobs["y"]) == ("LabelCRF", (2, 1, 5, 7))
    assert (options.x_gauss, options.y_gauss, options.wt_gauss, options.x_bilateral) == (19, 3, 3, 60)
    assert (options.r_bilateral, options.wt_bilateral) == (20, 35)
    assert 'type: "DenseCRF"' in net_text(spec, "text")
    assert parse_net(net_text(spec, "text")) == spec
    with pytest.raises(CaffeFormatError, match=r"layer 'crf' \(LabelCRF\): the v2 dialect has no such layer"):
        net_text(spec, "v2")


def test_refusals_name_layer_and_field():
    with pytest.raises(CaffeFormatError, match=r"layer 'crf' \(LabelCRF\): g_bilateral is 0.0; it must be above 0"):
        parse_net(crf("g_bilateral: 0"))
    for image in (IMAGE.replace("input_dim: 3", "input_dim: 1"), IMAGE.replace("input_dim: 7", "input_dim: 8")):
        with pytest.raises(CaffeFormatError, match=r"layer 'crf' \(LabelCRF\): needs scores of 3 labels or more"):
            parse_net(crf("", image))
