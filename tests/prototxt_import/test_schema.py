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
        ("enet", "LayerParameter", "bn_param", 45),
        ("pspnet", "LayerParameter", "interp_param", 143),
        ("pspnet", "LayerParameter", "seg_accuracy_param", 144),
        ("pspnet", "LayerParameter", "mat_write_param", 145),
        ("pspnet", "LayerParameter", "dense_crf_param", 146),
        ("pspnet", "LayerParameter", "domain_transform_param", 147),
        ("pspnet", "LayerParameter", "adaptive_bias_channel_param", 148),
        ("pspnet", "LayerParameter", "bias_channel_param", 149),
        ("pspnet", "LayerParameter", "unique_label_param", 150),
        ("pspnet", "LayerParameter", "mat_read_param", 151),
        ("bvlc", "LayerParameter", "embed_param", 137),
        ("bvlc", "LayerParameter", "tile_param", 138),
        ("bvlc", "LayerParameter", "crop_param", 144),
        ("bvlc", "LayerParameter", "swish_param", 147),
        ("bvlc", "LayerParameter", "clip_param", 148),
        ("enet", "LayerParameter", "crop_param", 144),
        ("enet", "LayerParameter", "input_param", 143),
        ("hed", "LayerParameter", "embed_param", 137),
        ("crfrnn", "LayerParameter", "tile_param", 138),
        ("crfrnn", "V1LayerParameter", "convolution_param", 10),
        ("crfrnn", "V1LayerParameter", "dropout_param", 12),
        ("crfrnn", "V1LayerParameter", "pooling_param", 19),
        ("crfrnn", "V1LayerParameter", "eltwise_param", 24),
        ("crfrnn", "V1LayerParameter", "loss_param", 42),
    ],
)
def test_colliding_fields_have_each_forks_own_number(dialect, message, field, expected):
    assert number(dialect, message, field) == expected


@pytest.mark.parametrize(
    ("dialect", "message", "fields"),
    [
        (
            "crfrnn",
            "MultiStageMeanfieldParameter",
            "compatibility_mode 1=0 threshold 2=2 theta_alpha 3=10 theta_beta 4=10 theta_gamma 5=10 num_iterations 6=1 "
            "spatial_filter_weight 7=1 bilateral_filter_weight 8=1 forced_spatial_filter_weight 9 "
            "forced_bilateral_filter_weight 10 spatial_filter_weights_str 19= bilateral_filter_weights_str 20= "
            "force_cpu 29=0",
        ),
        ("pspnet", "BNParameter", "slope_filler 1 bias_filler 2 momentum 3=0.9 eps 4=1e-5 frozen 5=0 engine 6=0"),
        ("segnet", "BNParameter", "scale_filler 1 shift_filler 2 bn_mode 3=0"),
        ("enet", "BNParameter", "scale_filler 1 shift_filler 2 bn_mode 3=0"),
        (
            "segnet",
            "UpsampleParameter",
            "scale 1=2 scale_h 2 scale_w 3 pad_out_h 4=0 pad_out_w 5=0 upsample_h 6 upsample_w 7",
        ),
        ("segnet", "LossParameter", "ignore_label 1 normalize 2=1 weight_by_label_freqs 3=0 class_weighting 4"),
        (
            "enet",
            "LossParameter",
            "ignore_label 1 normalize 2=1 weight_by_label_freqs 3=0 class_weighting 4 normalization 5=1",
        ),
        ("bvlc", "LossParameter", "ignore_label 1 normalization 3=1 normalize 2"),
        ("pspnet", "LossParameter", "ignore_label 1 normalization 3=1 normalize 2"),
        ("segnet", "DropoutParameter", "dropout_ratio 1=0.5 sample_weights_test 2=0"),
        (
            "enet",
            "DenseImageDataParameter",
            "source 1 batch_size 2 rand_skip 3 shuffle 4 new_height 5 new_width 6 is_color 7=1 mean_file 8 "
            "root_folder 9 mirror 10 crop_width 11 crop_height 12",
        ),
        ("bvlc", "InfogainLossParameter", "source 1 axis 2=1"),
        ("bvlc", "AccuracyParameter", "top_k 1=1 axis 2=1 ignore_label 3"),
        ("v2", "DomainTransformParameter", "num_iter 1=3 spatial_sigma 2=50 range_sigma 3=5 min_weight 4=0"),
    ],
)
def test_numbers_and_defaults_of_the_forks_messages(dialect, message, fields):
    """A field's name, its number, and after `=` its default, enums and booleans as numbers."""
    descriptor = schema.message(dialect, message).DESCRIPTOR.fields_by_name
    words = fields.split()
    for name, told in zip(words[::2], words[1::2], strict=True):
        number, equals, default = told.partition("=")
        assert descriptor[name].number == int(number), name
        if isinstance(descriptor[name].default_value, str):
            assert descriptor[name].default_value == default, name
        elif equals:
            assert float(descriptor[name].default_value) == pytest.approx(float(default), rel=1e-6), name


@pytest.mark.parametrize(
    ("dialect", "absent"),
    [
        ("hed", "crop_param input_param batch_norm_param scale_param bias_param elu_param bn_param"),
        ("crfrnn", "crop_param input_param batch_norm_param scale_param bias_param elu_param bn_param"),
        ("segnet", "crop_param input_param batch_norm_param scale_param bias_param elu_param tile_param embed_param"),
        ("bvlc", "bn_param upsample_param dense_image_data_param multi_stage_meanfield_param interp_param"),
    ],
)
def test_messages_that_a_fork_does_not_have(dialect, absent):
    fields = schema.message(dialect, "LayerParameter").DESCRIPTOR.fields_by_name
    assert [name for name in absent.split() if name in fields] == []


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
    assert 41 not in schema.message("crfrnn", "V1LayerParameter").LayerType.values()
    assert names("segnet") == ["CROP", "UNPOOLING"]  # DeconvNet's
    for dialect in ("bvlc", "pspnet", "enet"):
        assert 40 not in schema.message(dialect, "V1LayerParameter").LayerType.values()


def test_importer_needs_no_torch():
    code = "import sys, prototxt_import, prototxt_import.schema.compile; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
