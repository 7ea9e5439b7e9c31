"""SegNet, DeconvNet, ENet and ParseNet: shapes, fields of every fork, and refusals."""

from __future__ import annotations

import pytest

from prototxt_import import CaffeFormatError, net_text, parse_net

HEAD = 'input: "x" input_dim: 2 input_dim: 3 input_dim: 9 input_dim: 13\n'
POOL = 'layer { name: "p" type: "Pooling" bottom: "x" top: "p" top: "m" pooling_param { kernel_size: 2 stride: 2 } }\n'


def refusal(text: str) -> str:
    with pytest.raises(CaffeFormatError) as caught:
        parse_net(text, "n.prototxt")
    return str(caught.value)


def upsample(fields: str, bottoms: str = 'bottom: "p" bottom: "m"') -> str:
    return f'{HEAD}{POOL}layer {{ name: "u" type: "Upsample" {bottoms} top: "u" upsample_param {{ {fields} }} }}'


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ("", (10, 14)),
        ("scale: 3", (15, 21)),
        ("scale_h: 1 scale_w: 2", (5, 14)),
        ("scale: 2 pad_out_h: true", (9, 14)),
        ("pad_out_h: true pad_out_w: true", (9, 13)),
        ("upsample_h: 9 upsample_w: 13 scale: 4 pad_out_h: true", (9, 13)),
    ],
)
def test_upsample_sizes(fields, size):
    spec = parse_net(upsample(fields))
    assert spec.blobs["u"] == (2, 3, *size)
    assert spec.dialect == "segnet"
    for dialect in ("segnet", "enet", "text"):
        assert parse_net(net_text(spec, dialect), dialect=spec.dialect) == spec


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ("upsample_h: 9", "upsample_h and upsample_w must be given together"),
        ("scale_w: 2", "scale_h and scale_w must be given together"),
        ("scale: 3 pad_out_w: true", "pad_out_w goes with a scale of 2, not of 3"),
        ("scale: 0", "scale is (0, 0)"),
        ("upsample_h: 0 upsample_w: 3", "upsample_h and upsample_w are (0, 3)"),
    ],
)
def test_upsample_refusals(fields, fault):
    assert f"layer 'u' (Upsample): {fault}" in refusal(upsample(fields))


def test_a_mask_of_another_pooling_is_refused():
    message = refusal(upsample("", 'bottom: "x" bottom: "m"'))
    assert "layer 'u' (Upsample): the mask [2, 3, 5, 7] must have the shape of the values [2, 3, 9, 13]" in message


def unpool(fields: str) -> str:
    layer = "layer { name: 'u' type: 'Unpooling' bottom: 'p' bottom: 'm' top: 'u'"
    return f"{HEAD}{POOL}{layer} unpooling_param {{ {fields} }} }}"


def test_unpooling_sizes_and_refusals():
    assert parse_net(unpool("kernel_size: 2 stride: 2")).blobs["u"] == (2, 3, 11, 15)
    assert parse_net(unpool("kernel_size: 2 stride: 2 unpool_size: 14")).blobs["u"] == (2, 3, 14, 14)
    spec = parse_net(unpool("kernel_h: 2 kernel_w: 3 stride_h: 2 stride_w: 1 unpool_h: 9 unpool_w: 13"))
    assert parse_net(net_text(spec, "text")) == spec
    assert "layer 'u' (Unpooling): kernel_size is missing" in refusal(unpool(""))
    assert "pad must be 0" in refusal(unpool("kernel_size: 2 pad: 1"))
    assert "unpool TILE is not supported" in refusal(unpool("kernel_size: 2 unpool: TILE"))


def test_class_weights_are_one_for_each_class():
    head = HEAD + 'input: "l" input_dim: 2 input_dim: 1 input_dim: 9 input_dim: 13\n'
    loss = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "x" bottom: "l" top: "loss" loss_param { '
    weights = "class_weighting: 0.5 class_weighting: 2 "
    text = head + loss + "weight_by_label_freqs: true " + weights
    assert "layer 'loss' (SoftmaxWithLoss): class_weighting has 2 numbers for 3 classes" in refusal(text + "} }")
    spec = parse_net(text + "class_weighting: 1 normalize: false ignore_label: 11 } }")
    options = spec.layers[0].options
    assert (options.class_weights, options.normalization) == ((0.5, 2.0, 1.0), "BATCH_SIZE")
    for dialect in ("segnet", "enet", "text"):
        assert parse_net(net_text(spec, dialect)) == spec
    # The weights alone do nothing.
    alone = parse_net(head + loss + weights + "} }").layers[0].options
    assert alone.class_weights is None
    assert alone.normalization == "COUNTED"
    # enet has `normalization`, too, and does not look at it here.
    assert (
        parse_net(head + loss + "normalization: NONE } }", dialect="enet").layers[0].options.normalization == "COUNTED"
    )


def test_sampled_dropout_is_told_by_its_field():
    spec = parse_net(
        HEAD + 'layer { name: "d" type: "Dropout" bottom: "x" top: "y" dropout_param { sample_weights_test: true } }'
    )
    assert spec.dialect == "segnet"
    assert spec.layers[0].options.sample_in_test
    assert parse_net(net_text(spec, "segnet")) == spec
    with pytest.raises(CaffeFormatError, match="the v1 dialect has no sample_weights_test"):
        net_text(spec, "v1")


DENSE = 'layer { name: "data" type: "DenseImageData" top: "data" top: "label" dense_image_data_param { source: "l.txt" '
CONV = (
    'layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 4 kernel_size: 3 } }'
)


def test_dense_image_data_is_a_source():
    spec = parse_net(f"{DENSE} batch_size: 4 new_height: 36 new_width: 48 crop_height: 30 crop_width: 40 }} }}{CONV}")
    assert spec.blobs["data"] == (4, 3, 30, 40)
    assert spec.blobs["label"] == (4, 1, 30, 40)
    # Of unknown size it has CamVid's, so that the net has parameters; any other may be fed.
    spec = parse_net(f"{DENSE} batch_size: 2 }} }}{CONV}")
    assert spec.blobs["data"] == (2, 3, 360, 480)
    assert spec.param_shapes["c"] == ((4, 3, 3, 3), (4,))
    assert spec.with_inputs({"data": (1, 3, 20, 20)}).blobs["c"] == (1, 4, 18, 18)
    assert "crop_height and crop_width must be given together" in refusal(f"{DENSE} crop_width: 3 }} }}{CONV}")
