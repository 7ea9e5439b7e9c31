"""The zoo's names and facts, and the numbers that follow from a net's description alone."""

from __future__ import annotations

import math

import pytest

from deeplab_repro import zoo
from deeplab_repro.inspect import parameter_count, receptive_fields
from prototxt_import import CaffeFormatError, net_text, parse_net

PHASES = ("TRAIN", "TEST")
CLASSES = (*zoo.DATASETS.items(), ("own", 2))


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("name", zoo.VARIANTS)
def test_parameters_are_the_published_ones(name, phase):
    count = parameter_count(zoo.spec(name, phase=phase))
    assert count == {"deeplab_msc": 66_346_686, "deeplab_resnet101_largefov": 42_992_701}.get(
        name.removesuffix("_msc") if "resnet" in name else name, zoo.variant(name).parameters or 21_711_550
    )


def test_resnet101_has_the_published_blobs():
    spec = zoo.spec("deeplab_resnet101")
    owners = {}
    for layer in spec.layers:
        for param, shape in zip(layer.params, spec.param_shapes.get(layer.name, ()), strict=True):
            owners.setdefault(param.name, (math.prod(shape), param.lr_mult))
            assert param.lr_mult or layer.type in ("BatchNorm", "Scale")
    assert len(owners) == 632
    assert sum(count for count, _ in owners.values()) == 44_153_980
    assert sum(count for count, rate in owners.values() if rate) == 43_943_188
    assert sum(map(bool, (rate for _, rate in owners.values()))) == 112
    sizes = {name: spec.blobs[name][-1] for name in ("res5c", "res5c_res075", "res5c_res05", "fc_fusion", "fc1_interp")}
    assert sizes == {"res5c": 41, "res5c_res075": 31, "res5c_res05": 21, "fc_fusion": 41, "fc1_interp": 321}


@pytest.mark.parametrize(
    ("name", "phase", "side", "scores", "end"),
    [
        ("deeplab", "TRAIN", 306, 39, None),
        ("deeplab", "TEST", 514, 67, 514),
        ("deeplab_7x7", "TRAIN", 306, 39, None),
        ("deeplab_4x4", "TEST", 514, 67, 514),
        ("deeplab_largefov", "TRAIN", 321, 41, None),
        ("deeplab_largefov", "TEST", 513, 65, 513),
        ("deeplab_msc", "TEST", 513, 65, 513),
        ("deeplab_vgg16_aspp_s", "TEST", 513, 65, 513),
        ("deeplab_resnet101_largefov_msc", "TEST", 513, 65, 513),
    ],
)
def test_map_sizes(name, phase, side, scores, end):
    net = zoo.spec(name, phase=phase, size=(side, side))
    assert zoo.map_size(net) == (scores, scores)
    if end is not None:
        assert net.blobs[net.outputs[0]] == (1, 21, end, end)
    else:
        assert net.blobs["label_shrink"][2:] == (scores, scores)


def test_largefov_trains_all_of_its_32_blobs():
    net = zoo.spec("deeplab_largefov")
    assert sum(map(len, net.param_shapes.values())) == 32
    assert all(param.lr_mult > 0 for layer in net.layers for param in layer.params)
    assert parameter_count(net) == 20_505_429


def test_largefov_of_306_gives_313_and_does_not_train():
    net = zoo.spec("deeplab_largefov", size=(306, 306))
    assert (zoo.map_size(net), net.blobs[net.outputs[0]]) == ((40, 40), (1, 21, 313, 313))
    with pytest.raises(CaffeFormatError, match=r"labels \[1, 1, 39, 39\] do not give one number per position"):
        zoo.spec("deeplab_largefov", phase="TRAIN", size=(306, 306))


@pytest.mark.parametrize(("phase", "extra"), [("TRAIN", 1), ("TEST", 3)])
def test_first_release_takes_sides_of_8k_plus_2(phase, extra):
    for k in (33, 38, 64):
        net = zoo.spec("deeplab", phase=phase, size=(8 * k + 2, 8 * k + 2))
        assert zoo.map_size(net) == (k + extra, k + extra)


def test_scales_of_513_meet_on_one_grid():
    net = zoo.spec("deeplab_resnet101", size=(513, 513))
    sizes = [net.blobs[name][-1] for name in ("res5c", "res5c_res075", "res5c_res05", "fc_fusion", "fc1_interp")]
    assert sizes == [65, 49, 33, 65, 513]


def test_default_sizes_are_the_papers():
    assert zoo.spec("deeplab", phase="TRAIN").inputs["data"] == (1, 3, 306, 306)
    assert zoo.spec("deeplab_7x7").inputs["data"] == (1, 3, 514, 514)
    assert zoo.spec("deeplab_largefov").inputs["data"] == (1, 3, 321, 321)


@pytest.mark.parametrize(("name", "field"), [("deeplab", 308), ("deeplab_4x4", 404), ("deeplab_7x7", 404)])
def test_receptive_field_of_fc6_is_that_of_vgg16_in_convolutional_mode(name, field):
    assert receptive_fields(zoo.spec(name, width=1 / 16))["fc6"].size == (field, field)


@pytest.mark.parametrize(("kernel", "rate", "field"), [(7, 4, 224), (4, 4, 128), (4, 8, 224), (3, 12, 224)])
def test_field_of_view(kernel, rate, field):
    assert zoo.field_of_view(kernel, rate) == field


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("name", zoo.VARIANTS)
def test_every_net_and_class_count_reads_back_equal(name, phase):
    for dataset, classes in CLASSES:
        # Blocks are alike: the deepest net is read at full depth once.
        deepest = (name, phase, dataset) == ("deeplab_resnet101_aspp_msc", "TRAIN", "voc12")
        shallow = {} if deepest or "resnet" not in name else {"depths": (1, 2, 2, 1)}
        net = zoo.spec(name, classes, dataset, phase, **shallow)
        assert {net.blobs[zoo.score_blob(net)][1], net.blobs[net_classifier(net)][1]} == {classes}
        again = parse_net(net_text(net, net.dialect), phase=phase)
        assert again == net
        assert again.dialect == net.dialect


def net_classifier(net):
    return next(one.name for one in net.layers if one.name.startswith(("fc8_", "fc1_")))


def test_v1_models_have_no_filler_the_v1_fork_lacks():
    text = net_text(zoo.spec("deeplab_msc_largefov"), "v1")
    assert "msra" not in text
    assert "hole: 12" in text
    assert "type: CONVOLUTION" in text
    # conv5_1 reads 512 x 3 x 3 numbers.
    assert zoo.spec("deeplab").layer("conv5_1").options.weight_filler.std == pytest.approx(math.sqrt(2 / 4608))


def test_nets_of_one_name_differ_by_their_facts():
    small, large = (zoo.spec(f"deeplab_vgg16_aspp_{mark}") for mark in "sl")
    rates = [[net.layer(f"fc6_{i}").options.dilation[0] for i in range(1, 5)] for net in (small, large)]
    assert rates == [[2, 4, 8, 12], [6, 12, 18, 24]]
    assert zoo.spec("deeplab_vgg16_aspp") == large
    fovs = [zoo.spec(name).layer("fc6").options for name in ("deeplab", "deeplab_4x4", "deeplab_7x7")]
    assert [(one.kernel[0], one.dilation[0], one.pad[0]) for one in fovs] == [(4, 4, 6), (4, 8, 12), (7, 4, 12)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "deeplab_largefow"}, "unknown variant 'deeplab_largefow'.*did you mean 'deeplab_largefov'"),
        ({"name": "deeplab", "dataset": "ade20k"}, "dataset 'ade20k' is unknown: give num_classes too"),
        ({"name": "deeplab", "phase": "TEST2"}, "phase must be TRAIN or TEST"),
        ({"name": "deeplab", "channels": (1, 2)}, "channels must have 5 entries"),
        ({"name": "deeplab", "fusion": "scores"}, "multi-layer branches need the 3x3 pools"),
        ({"name": "deeplab_msc", "fusion": "sum"}, "fusion must be one of scores, coarse, features"),
        ({"name": "deeplab_largefov", "head": "psp"}, "head must be one of noup"),
        ({"name": "deeplab_largefov", "rates": ()}, "at least one rate"),
        ({"name": "deeplab_largefov", "depths": (1, 1, 1, 1)}, "deeplab_largefov: .*'depths'"),
        ({"name": "deeplab_resnet101", "dialect": "v1"}, "exist in the v2 dialect only"),
        ({"name": "deeplab_resnet101", "head": "psp"}, "head must be one of aspp, largefov"),
        ({"name": "deeplab_resnet101", "depths": (3, 4, 6)}, "depths must have 4 entries"),
        ({"name": "deeplab_resnet101", "phase": "VAL"}, "phase must be TRAIN or TEST"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        zoo.spec(**arguments)


@pytest.mark.parametrize("name", ["deeplab_resnet101", "deeplab_msc"])
def test_sizes_at_which_scales_or_layers_do_not_meet_name_the_layer(name):
    with pytest.raises(CaffeFormatError, match=r"layer 'fc_fusion' \(Eltwise\): all bottoms must have one shape"):
        zoo.spec(name, size=(306, 306))
