"""The schemas: kept apart, compiled from what is in the folder, and unlike where the forks are unlike."""

from __future__ import annotations

import subprocess
import sys

import pytest

from prototxt_import import schema


def number(dialect, message, field):
    return schema.message(dialect, message).DESCRIPTOR.fields_by_name[field].number


# The DeepLab forks' own layer parameters: the number in v1, v2 and x2.
OWN = {
    "interp_param": (43, 143, 153),
    "seg_accuracy_param": (42, 144, 154),
    "mat_write_param": (46, 145, 155),
    "dense_crf_param": (48, 146, 152),
    "domain_transform_param": (None, 147, 147),
    "adaptive_bias_channel_param": (53, 148, 148),
    "bias_channel_param": (50, 149, 149),
    "unique_label_param": (51, 150, 150),
    "mat_read_param": (47, 151, 151),
    "input_param": (None, None, 143),
    "crop_param": (None, None, 144),
    "parameter_param": (None, None, 145),
    "recurrent_param": (None, None, 146),
    "padding_param": (45, None, None),
    "softmaxloss_param": (44, None, None),
    "loss_param": (None, 101, 101),
    "concat_param": (9, 104, 104),
    "dropout_param": (12, 108, 108),
    "pooling_param": (19, 121, 121),
    "eltwise_param": (24, 110, 110),
}
V1_TYPES = {
    39: "IMAGE_SEG_DATA",
    40: "SEG_ACCURACY",
    41: "INTERP",
    42: "PADDING",
    43: "MAT_WRITE",
    44: "MAT_READ",
    48: "UNIQUE_LABEL",
}


@pytest.mark.parametrize("field", OWN)
def test_layer_parameters_of_the_deeplab_forks_have_each_forks_number(field):
    for dialect, expected in zip(("v1", "v2", "x2"), OWN[field], strict=True):
        message = "V1LayerParameter" if dialect == "v1" else "LayerParameter"
        known = schema.message(dialect, message).DESCRIPTOR.fields_by_name
        assert (known[field].number if field in known else None) == expected


@pytest.mark.parametrize("value", V1_TYPES)
def test_layer_types_of_v1_have_its_enum_values(value):
    assert schema.message("v1", "V1LayerParameter").LayerType.Name(value) == V1_TYPES[value]


def test_another_forks_schema_reads_without_an_error_and_wrongly():
    convolution = schema.message("v1", "ConvolutionParameter")(hole=12).SerializeToString()
    read = schema.message("v2", "ConvolutionParameter").FromString(convolution)
    assert read.force_nd_im2col
    assert not read.dilation
    kinds = schema.message("v1", "V1LayerParameter").LayerType
    interp = schema.message("v1", "V1LayerParameter")(name="i", type=kinds.INTERP).SerializeToString()
    assert not schema.message("bvlc", "V1LayerParameter").FromString(interp).HasField("type")


@pytest.mark.parametrize(
    ("dialect", "message", "field", "expected"),
    [
        ("v1", "ConvolutionParameter", "hole", 17),
        ("v1", "ConvolutionParameter", "hole_h", 18),
        ("v1", "ConvolutionParameter", "hole_w", 19),
        ("v1", "PaddingParameter", "pad_beg", 1),
        ("v1", "PaddingParameter", "pad_end", 2),
        ("v1", "BlobProto", "num", 1),
        ("v1", "BlobProto", "width", 4),
        ("v2", "BlobProto", "data", 5),
        ("v2", "BlobProto", "diff", 6),
        ("v2", "BlobProto", "shape", 7),
        ("v2", "BlobProto", "double_data", 8),
        ("v2", "BlobProto", "double_diff", 9),
        ("v2", "SolverState", "iter", 1),
        ("v2", "SolverState", "learned_net", 2),
        ("v2", "SolverState", "history", 3),
        ("v2", "SolverState", "current_step", 4),
        ("v1", "NetParameter", "layers", 2),
        ("v2", "NetParameter", "layer", 100),
        ("v2", "ConvolutionParameter", "force_nd_im2col", 17),
        ("v2", "ConvolutionParameter", "dilation", 18),
        ("v1", "V1LayerParameter", "interp_param", 43),
        ("v2", "LayerParameter", "interp_param", 143),
        ("x2", "LayerParameter", "interp_param", 153),
        ("bvlc", "LayerParameter", "input_param", 143),
        ("v1", "V1LayerParameter", "seg_accuracy_param", 42),
        ("bvlc", "V1LayerParameter", "loss_param", 42),
        ("v2", "LayerParameter", "dense_crf_param", 146),
        ("x2", "LayerParameter", "dense_crf_param", 152),
        ("bvlc", "LayerParameter", "recurrent_param", 146),
        ("v1", "V1LayerParameter", "padding_param", 45),
        ("crfrnn", "LayerParameter", "multi_stage_meanfield_param", 146),
        ("crfrnn", "V1LayerParameter", "multi_stage_meanfield_param", 44),
        ("pspnet", "LayerParameter", "bn_param", 152),
        ("pspnet", "BNParameter", "momentum", 3),
        ("segnet", "LayerParameter", "bn_param", 45),
        ("segnet", "BNParameter", "bn_mode", 3),
        ("segnet", "LayerParameter", "upsample_param", 137),
        ("enet", "LayerParameter", "upsample_param", 147),
        ("segnet", "LayerParameter", "dense_image_data_param", 138),
        ("enet", "LayerParameter", "dense_image_data_param", 46),
        ("segnet", "LossParameter", "weight_by_label_freqs", 3),
        ("bvlc", "LossParameter", "normalization", 3),
        ("enet", "LossParameter", "normalization", 5),
        ("segnet", "DropoutParameter", "sample_weights_test", 2),
    ],
)
def test_colliding_fields_have_each_forks_own_number(dialect, message, field, expected):
    assert number(dialect, message, field) == expected


def test_enum_value_39_means_another_layer_in_each_fork():
    def name(dialect):
        return schema.message(dialect, "V1LayerParameter").LayerType.Name(39)

    assert name("v1") == "IMAGE_SEG_DATA"
    assert name("v2") == name("bvlc") == "DECONVOLUTION"


def test_enum_values_40_and_42_mean_other_layers_in_each_fork():
    def names(dialect):
        kinds = schema.message(dialect, "V1LayerParameter").LayerType
        return [kinds.Name(number) for number in (40, 42)]

    assert names("v1") == ["SEG_ACCURACY", "PADDING"]
    assert names("crfrnn") == ["CROP", "MULTI_STAGE_MEANFIELD"]
    assert names("segnet") == ["CROP", "UNPOOLING"]  # DeconvNet's
    for dialect in ("bvlc", "pspnet", "enet"):
        assert 40 not in schema.message(dialect, "V1LayerParameter").LayerType.values()


def test_importer_needs_no_torch():
    code = "import sys, prototxt_import, prototxt_import.schema.compile; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
