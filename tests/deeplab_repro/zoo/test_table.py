"""The zoo's names and facts, and the numbers that follow from a net's description alone."""

from __future__ import annotations

import pytest

from deeplab_repro import zoo
from deeplab_repro.inspect import parameter_count
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


def test_default_sizes_are_the_papers():
    assert zoo.spec("deeplab", phase="TRAIN").inputs["data"] == (1, 3, 306, 306)
    assert zoo.spec("deeplab_7x7").inputs["data"] == (1, 3, 514, 514)
    assert zoo.spec("deeplab_largefov").inputs["data"] == (1, 3, 321, 321)


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
    return next(layer.name for layer in net.layers if layer.name.startswith(("fc8_", "fc1_")))


def test_nets_of_one_name_differ_by_their_facts():
    small, large = (zoo.spec(f"deeplab_vgg16_aspp_{mark}") for mark in "sl")
    rates = [[net.layer(f"fc6_{i}").options.dilation[0] for i in range(1, 5)] for net in (small, large)]
    assert rates == [[2, 4, 8, 12], [6, 12, 18, 24]]
    assert zoo.spec("deeplab_vgg16_aspp") == large
    fovs = [zoo.spec(name).layer("fc6").options for name in ("deeplab", "deeplab_4x4", "deeplab_7x7")]
    assert [(options.kernel[0], options.dilation[0], options.pad[0]) for options in fovs] == [
        (4, 4, 6),
        (4, 8, 12),
        (7, 4, 12),
    ]


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
