"""DeepLab's nets on VGG-16."""

from __future__ import annotations

import math

import pytest

from deeplab_repro import zoo
from deeplab_repro.inspect import parameter_count, receptive_fields
from prototxt_import import CaffeFormatError, net_text


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


@pytest.mark.parametrize(("name", "field"), [("deeplab", 308), ("deeplab_4x4", 404), ("deeplab_7x7", 404)])
def test_receptive_field_of_fc6_is_that_of_vgg16_in_convolutional_mode(name, field):
    assert receptive_fields(zoo.spec(name, width=1 / 16))["fc6"].size == (field, field)


def test_v1_models_have_no_filler_the_v1_fork_lacks():
    text = net_text(zoo.spec("deeplab_msc_largefov"), "v1")
    assert "msra" not in text
    assert "hole: 12" in text
    assert "type: CONVOLUTION" in text
    # conv5_1 reads 512 x 3 x 3 numbers.
    assert zoo.spec("deeplab").layer("conv5_1").options.weight_filler.std == pytest.approx(math.sqrt(2 / 4608))
