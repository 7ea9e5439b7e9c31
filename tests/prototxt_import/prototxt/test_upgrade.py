"""Old layer formats made new, and the dialect that a text is in."""

from __future__ import annotations

import pytest

from prototxt_import import parse_net, read_net
from prototxt_import.prototxt.upgrade import v0_names, v1_names
from tests.prototxt_import.texts import HEAD, conv, refusal

UPGRADES = [
    ("v0_binary", "v0", "upgraded_v1"),
    ("v0_binary", "v0", "upgraded_v2"),
    ("v0_text", "v0", "upgraded_v1"),
    ("v0_text", "v0", "upgraded_v2"),
    ("v1_binary", "v1", "upgraded_v2"),
    ("v1_to_v2", "old", "upgraded"),
    ("x2_input_bn", "old", "upgraded"),
]


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
@pytest.mark.parametrize(("case", "old", "new"), UPGRADES)
def test_old_formats_equal_caffes_own_upgrade(shared_caffe, case, old, new, phase):
    folder = shared_caffe / "upgrade" / case
    before, after = (read_net(folder / f"{name}.prototxt", phase=phase) for name in (old, new))
    assert before.layers == after.layers
    assert before.inputs == after.inputs
    assert before == after


def test_v1_hole_is_read_as_dilation_and_0_as_1():
    def dilation(fields):
        return (
            parse_net(HEAD + conv("c", "x", fields=f"num_output: 1 kernel_size: 2 {fields}")).layers[0].options.dilation
        )

    assert dilation("hole: 2") == dilation("dilation: 2") == dilation("hole_h: 2 hole_w: 2") == (2, 2)
    assert dilation("hole_h: 3 hole_w: 2") == dilation("dilation: 3 dilation: 2") == (3, 2)
    assert dilation("hole: 0") == dilation("dilation: 0") == (1, 1)


def test_hole_is_accepted_in_second_format_text_and_conflicts_are_refused():
    assert parse_net(HEAD + conv("c", "x", fields="num_output: 1 kernel_size: 2 hole: 4")).dialect == "v2"
    assert "disagree" in refusal(HEAD + conv("c", "x", fields="num_output: 1 kernel_size: 2 hole: 4 dilation: 2"))


def test_v1_types_may_be_numbers():
    spec = parse_net(HEAD + 'layers { type: 18 name: "r" bottom: "x" top: "y" }')
    assert spec.layers[0].type == "ReLU"


V0_TYPES = (
    "accuracy bnll concat conv data dropout euclidean_loss flatten hdf5_data hdf5_output im2col images infogain_loss "
    "innerproduct lrn multinomial_logistic_loss pool relu sigmoid softmax softmax_loss split tanh window_data"
)


def test_v0_knows_these_types_by_lower_case_names():
    assert sorted(v0_names()) == V0_TYPES.split()


@pytest.mark.parametrize(
    "old",
    [
        "IMAGE_SEG_DATA",
        "SEG_ACCURACY",
        "INTERP",
        "PADDING",
        "MAT_WRITE",
        "MAT_READ",
        "UNIQUE_LABEL",
        "BIAS_CHANNEL",
        "DENSE_CRF",
    ],
)
def test_the_forks_own_v1_types_have_v2_names(old):
    """Caffe's own upgrade has no entry for them."""
    assert v1_names()[old].lower() == old.replace("_", "").lower()


V0 = 'input: "x" input_dim: 1 input_dim: 3 input_dim: 9 input_dim: 9\n'


def v0(inner, bottom="x", top="y"):
    return f'layers {{ layer {{ {inner} }} bottom: "{bottom}" top: "{top}" }}\n'


def test_v0_padding_goes_into_its_reader():
    text = V0 + v0('name: "p" type: "padding" pad: 2', top="p")
    spec = parse_net(text + v0('name: "c" type: "conv" num_output: 1 kernelsize: 5', "p"))
    (only,) = spec.layers
    assert (only.bottoms, only.options.pad, spec.blobs["y"]) == (("x",), (2, 2), (1, 1, 9, 9))
    assert "reads padding layer 'p'; only conv and pool can" in refusal(text + v0('name: "r" type: "relu"', "p"))


def test_v0_unknown_types_are_refused_and_fields_of_other_types_dropped():
    assert "layer 'r': unknown V0 type 'RELU'" in refusal(V0 + v0('name: "r" type: "RELU"'))
    assert parse_net(V0 + v0('name: "r" type: "relu" num_output: 3')).layers[0].type == "ReLU"


def test_v0_fields_of_data_layers_move_to_the_messages_of_today():
    images = v0(
        'name: "i" type: "images" source: "l.txt" batchsize: 5 rand_skip: 2 new_height: 7 new_width: 8 '
        'shuffle_images: true scale: 0.5 mirror: true cropsize: 6 meanfile: "m"'
    ).replace('bottom: "x"', "")
    options = parse_net(images).layers[0].options
    assert (options.source, options.batch_size, options.rand_skip, options.shuffle) == ("l.txt", 5, 2, True)
    assert (options.new_height, options.new_width) == (7, 8)
    moved = options.transform
    assert (moved.scale, moved.mirror, moved.crop_size, moved.mean_file) == (0.5, True, 6, "m")
    windows = v0(
        'name: "w" type: "window_data" source: "l" batchsize: 3 det_fg_threshold: 0.7 det_bg_threshold: 0.3 '
        'det_fg_fraction: 0.5 det_context_pad: 4 det_crop_mode: "square"'
    ).replace('bottom: "x"', 'top: "label"')
    options = parse_net(windows).layers[0].options
    assert (options.fg_threshold, options.bg_threshold, options.fg_fraction) == (0.7, 0.3, 0.5)
    assert (options.context_pad, options.crop_mode) == (4, "square")


def test_old_axes_of_concat_and_slice_count_like_the_new():
    text = 'layers { name: "s" type: SLICE bottom: "x" top: "a" top: "b" slice_param { slice_dim: 2 slice_point: 4 } }'
    text += 'layers { name: "c" type: CONCAT bottom: "a" bottom: "b" top: "y" concat_param { concat_dim: 2 } }'
    assert parse_net(HEAD + text).blobs["y"] == (1, 3, 9, 11)
    assert [layer.options.axis for layer in parse_net(HEAD + text).layers] == [2, 2]
