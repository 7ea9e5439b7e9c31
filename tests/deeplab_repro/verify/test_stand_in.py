"""Nets that a weight file fits, with other numbers of channels."""

import numpy as np
import pytest

from deeplab_repro import zoo
from deeplab_repro.verify.stand_in import fitting_net
from prototxt_import import CaffeFormatError, read_weights, write_weights


def test_stand_in_channels_are_read_off_the_file(weights_folder):
    net, difference = fitting_net(weights_folder / "v1_largefov_train.caffemodel", "deeplab_largefov", "voc12")
    assert net.params["conv5_1"][0].shape == (8, 8, 3, 3)
    assert net.spec.outputs == ("fc8_interp",)
    assert difference == "conv1_1 is 1x3x3x3, the original's 64x3x3x3"


def test_shared_scales_need_their_weights_once(tmp_path):
    spec = zoo.spec("deeplab_resnet101_aspp_msc", width=1 / 32, depths=(3, 4, 23, 3))
    rng = np.random.default_rng(0)
    weights = {
        layer: [rng.random(shape, np.float32) for shape in shapes]
        for layer, shapes in spec.param_shapes.items()
        if shapes and not layer.endswith(("_res05", "_res075"))
    }
    write_weights(weights, None, tmp_path / "w.caffemodel")
    net, difference = fitting_net(tmp_path / "w.caffemodel", "deeplab_resnet101_aspp_msc", "voc12")
    assert net.params["res2a_branch2a_res05"][0] is net.params["res2a_branch2a"][0]
    assert difference.startswith("conv1 is 2x3x7x7")


def test_weights_of_another_net_are_refused(weights_folder, tmp_path):
    path = weights_folder / "v1_largefov_train.caffemodel"
    with pytest.raises(CaffeFormatError):
        fitting_net(path, "deeplab", "voc12")
    with pytest.raises(ValueError, match="no weights for the layer fc8_cityscapes"):
        fitting_net(path, "deeplab_largefov", "cityscapes")
    stored = read_weights(path)
    few = {
        **stored,
        "fc8_voc12": [
            blob[..., :7, :, :, :] if blob.ndim == 4 and blob.shape[0] == 21 else blob[..., :7]
            for blob in stored["fc8_voc12"]
        ],
    }
    write_weights(few, None, tmp_path / "few.caffemodel")
    with pytest.raises(ValueError, match="scores 7 classes, voc12 has 21"):
        fitting_net(tmp_path / "few.caffemodel", "deeplab_largefov", "voc12")
    stored.pop("conv3_2")
    write_weights(stored, None, tmp_path / "w.caffemodel")
    with pytest.raises(ValueError, match="no weights for the layer conv3_2"):
        fitting_net(tmp_path / "w.caffemodel", "deeplab_largefov", "voc12")
