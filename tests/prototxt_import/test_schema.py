"""The schemas: kept apart, compiled from what is in the folder, and unlike where the forks are unlike."""

from __future__ import annotations

import subprocess
import sys

import pytest

from prototxt_import import schema


def number(dialect, message, field):
    return schema.message(dialect, message).DESCRIPTOR.fields_by_name[field].number


@pytest.mark.parametrize(
    ("dialect", "message", "field", "expected"),
    [
        ("v1", "ConvolutionParameter", "hole", 17),
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
