"""SegNet's and DeconvNet's layers: recorded passes, a plain loop, and messages."""

from __future__ import annotations

import pytest
import torch

from deeplab_repro import CaffeNet, load_caffe
from prototxt_import import parse_net
from tests.deeplab_repro.layers.recorded import check_recorded

NAMES = [
    "upsample_scale2",
    "upsample_pad_out",
    "upsample_hw_odd",
    "softmaxloss_weighted_ignore",
    "softmaxloss_weighted_batch",
    "softmaxloss_weighted_full",
    "dropout_sample_test",
    "dropout_plain_test",
    "mini_train",
]


@pytest.mark.parametrize("name", NAMES)
def test_as_recorded(name):
    check_recorded("segnet", name)


def test_of_values_at_one_place_the_last_stands_and_each_has_its_gradient(run):
    x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]], requires_grad=True)
    mask = torch.tensor([[[[0.0, 5.0], [5.0, 15.0]]]])
    y = run("Upsample", x, mask)
    assert y.shape == (1, 1, 4, 4)
    assert y.flatten()[[0, 5, 15]].tolist() == [1, 3, 4]
    assert y.sum() == 8
    y.backward(torch.arange(16.0).reshape(1, 1, 4, 4))
    assert x.grad.flatten().tolist() == [0, 5, 5, 15]


def test_overlapping_pools_against_a_plain_loop(rng):
    net = CaffeNet(
        parse_net(
            'input: "x" input_shape { dim: 2 dim: 3 dim: 7 dim: 9 }'
            'layer { name: "p" type: "Pooling" bottom: "x" top: "p" top: "m" '
            "pooling_param { kernel_size: 3 stride: 2 } }"
            'layer { name: "u" type: "Upsample" bottom: "p" bottom: "m" top: "u" '
            "upsample_param { upsample_h: 7 upsample_w: 9 } }"
        )
    )
    x = torch.randn(2, 3, 7, 9, generator=rng)
    blobs = net(x=x, blobs="all")
    wanted = torch.zeros(2, 3, 63)
    for n in range(2):
        for c in range(3):
            for value, at in zip(blobs["p"][n, c].flatten(), blobs["m"][n, c].flatten().long(), strict=True):
                wanted[n, c, at] = value
    assert torch.equal(blobs["u"].flatten(2), wanted)


def test_the_top_follows_the_bottoms_size(rng):
    """The fork keeps the size of the first pass."""
    net = CaffeNet(
        parse_net(
            'input: "x" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }'
            'layer { name: "p" type: "Pooling" bottom: "x" top: "p" top: "m" '
            "pooling_param { kernel_size: 2 stride: 2 } }"
            'layer { name: "u" type: "Upsample" bottom: "p" bottom: "m" top: "u" }'
        )
    )
    for height, width in ((8, 8), (6, 10)):
        assert net(x=torch.randn(2, 3, height, width, generator=rng))["u"].shape == (2, 3, height, width)


def test_no_gradient_goes_to_the_mask(run):
    x = torch.ones(1, 1, 2, 2, requires_grad=True)
    mask = torch.tensor([[[[0.0, 2.0], [9.0, 11.0]]]], requires_grad=True)
    run("Upsample", x, mask).sum().backward()
    assert mask.grad is None


def test_mask_outside_the_top_names_layer_and_position(run):
    with pytest.raises(
        ValueError, match=r"layer 'it' \(Upsample\): the mask names position 99, outside a top of 4 x 4"
    ):
        run("Upsample", torch.ones(1, 1, 2, 2), torch.full((1, 1, 2, 2), 99.0))


def test_everything_ignored_is_not_a_number():
    net = CaffeNet(
        parse_net(
            'input: "x" input_shape { dim: 1 dim: 2 dim: 2 dim: 2 } '
            'input: "l" input_shape { dim: 1 dim: 1 dim: 2 dim: 2 } '
            'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "x" bottom: "l" top: "loss" '
            "loss_param { ignore_label: 3 weight_by_label_freqs: true class_weighting: 1 class_weighting: 2 } }",
            phase="TRAIN",
        )
    )
    assert net(x=torch.zeros(1, 2, 2, 2), l=torch.full((1, 1, 2, 2), 3.0)).loss.isnan()


def test_unpooling_without_a_mask_takes_the_corner_of_each_window(run):
    x = torch.arange(1.0, 7).reshape(1, 1, 2, 3)
    y = run("Unpooling", x, kernel=(2, 2), stride=(2, 2))
    assert y.shape == (1, 1, 5, 7)  # max((n - 1) stride + kernel, n stride + 1)
    assert y[0, 0, ::2, ::2][:2, :3].tolist() == x[0, 0].tolist()
    assert y.sum() == x.sum()


def test_deconvnet_wiring_loads_and_runs(tmp_path, rng):
    text = """
    input: "data" input_dim: 1 input_dim: 3 input_dim: 9 input_dim: 11
    layers { bottom: 'data' top: 'conv1' name: 'conv1' type: CONVOLUTION
             convolution_param { num_output: 4 pad: 1 kernel_size: 3 weight_filler { type: 'xavier' } } }
    layers { bottom: 'conv1' top: 'conv1' name: 'bn1' type: BN
             bn_param { scale_filler { type: 'constant' value: 1 } shift_filler { type: 'constant' value: 0 }
                        bn_mode: INFERENCE } }
    layers { bottom: 'conv1' top: 'pool1' top: 'pool1_mask' name: 'pool1' type: POOLING
             pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
    layers { type: UNPOOLING bottom: 'pool1' bottom: 'pool1_mask' top: 'unpool1' name: 'unpool1'
             unpooling_param { unpool: MAX kernel_size: 2 stride: 2 unpool_h: 9 unpool_w: 11 } }
    """
    (tmp_path / "net.prototxt").write_text(text)
    net = load_caffe(tmp_path / "net.prototxt")
    assert net.spec.dialect == "segnet"
    blobs = net(data=torch.randn(1, 3, 9, 11, generator=rng), blobs="all")
    assert blobs["unpool1"].shape == (1, 4, 9, 11)
    assert torch.equal(blobs["unpool1"].amax((2, 3)), blobs["pool1"].amax((2, 3)).clamp(min=0))


def test_sampled_dropout_stays_in_a_prepared_net():
    text = (
        'input: "x" input_shape { dim: 1 dim: 3 dim: 9 dim: 9 } layer { name: "d" type: "Dropout" bottom: "x" top: "y" '
    )
    net = CaffeNet(parse_net(text + "dropout_param { sample_weights_test: true } }"))
    x = torch.ones(1, 3, 9, 9)
    assert net.prepare(x)(x=x)["y"].unique().tolist() == [0, 2]
