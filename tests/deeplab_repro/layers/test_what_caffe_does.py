"""Corners of single layers, held against the sentences that say what Caffe does there."""

import math

import pytest
import torch
from torch.nn import functional as F

from deeplab_repro.export.caffe import net_arrays
from deeplab_repro.layers.base import has_module
from deeplab_repro.net.network import CaffeNet
from prototxt_import import parse_net
from prototxt_import.layers import layer_types

INPUT = 'input: "data" input_shape { %s }\n'


def net(text, shape, dialect="auto", phase="TEST"):
    dims = " ".join(f"dim: {side}" for side in shape)
    return CaffeNet(parse_net(INPUT % dims + text, dialect=dialect, phase=phase))


def test_a_pooling_window_larger_than_the_map_takes_all_of_it():
    """Pooling: the window is clipped to the image (MAX) or the padded extent (AVE)."""
    x = torch.randn(1, 3, 2, 2)
    for pool, want in (("MAX", x.amax((2, 3))), ("AVE", x.mean((2, 3)))):
        text = 'layer { name: "p" type: "Pooling" bottom: "data" top: "y" pooling_param { pool: %s %s } }'
        y = net(text % (pool, "kernel_size: 3 stride: 2"), x.shape)(data=x)["y"]
        torch.testing.assert_close(y[..., 0, 0], want)


def test_a_kernel_larger_than_the_map_reads_zeros_beyond_it():
    x = torch.randn(1, 3, 2, 5)
    text = """layer { name: "c" type: "Convolution" bottom: "data" top: "y"
  convolution_param { num_output: 2 kernel_size: 3 stride: 2 weight_filler { type: "xavier" } } }"""
    made = net(text, x.shape)
    weight, bias = made.params["c"]
    want = F.conv2d(F.pad(x, (0, 0, 0, 1)), weight, bias, stride=2)
    torch.testing.assert_close(made(data=x)["y"], want)


def test_mvn_of_a_constant_plane_has_a_finite_gradient():
    """MVN: divided by sqrt(var) + eps."""
    x = torch.ones(2, 3, 4, 4)
    x[1] = torch.randn(3, 4, 4)
    x.requires_grad_()
    made = net('layer { name: "m" type: "MVN" bottom: "data" top: "y" }', x.shape)
    y = made(data=x)["y"]
    y.square().sum().backward()
    assert torch.isfinite(x.grad).all()
    assert not y[0].any()


def test_mvn_of_v1_passes_the_gradient_unchanged_without_variance():
    """MVN, v1: with normalize_variance false the gradient is passed unchanged."""
    text = 'layer { name: "m" type: "MVN" bottom: "data" top: "y" mvn_param { normalize_variance: false } }'
    weight = torch.randn(1, 3, 4, 4)
    gradients = {}
    for dialect in ("v1", "v2"):
        x = torch.randn(1, 3, 4, 4, requires_grad=True)
        (net(text, x.shape, dialect)(data=x)["y"] * weight).sum().backward()
        gradients[dialect] = x.grad
    torch.testing.assert_close(gradients["v1"], weight)
    torch.testing.assert_close(gradients["v2"], weight - weight.mean((2, 3), keepdim=True))


def test_a_layers_own_phase_wins():
    x = torch.randn(1, 3, 9, 9)
    text = 'layer { name: "d" type: "Dropout" bottom: "data" top: "y" phase: %s }'
    assert torch.equal(net(text % "TEST", x.shape, phase="TRAIN")(data=x)["y"], x)
    assert not torch.equal(net(text % "TRAIN", x.shape, phase="TEST")(data=x)["y"], x)


def test_v1_inner_product_and_flatten_keep_four_axes():
    text = """layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param { num_output: 4 } }
layer { name: "flat" type: "Flatten" bottom: "data" top: "flat" }"""
    got = net(text, (2, 3, 5, 5), "v1")(data=torch.randn(2, 3, 5, 5))
    assert got["fc"].shape == (2, 4, 1, 1)
    assert got["flat"].shape == (2, 75, 1, 1)


def test_euclidean_loss_of_v1_has_a_gradient_at_distance_zero():
    """EuclideanLoss, v1: with `type: L2sqrt` the square root of that mean (not halved); divided by at least 1e-6."""
    text = """layer { name: "loss" type: "EuclideanLoss" bottom: "data" bottom: "data2" top: "loss"
  euclidean_loss_param { type: L2sqrt } }"""
    dims = "dim: 2 dim: 3"
    made = CaffeNet(parse_net(INPUT % dims + (INPUT % dims).replace("data", "data2") + text, dialect="v1"))
    x = torch.randn(2, 3, requires_grad=True)
    made(data=x, data2=x.detach())["loss"].backward()
    assert not x.grad.any()
    y = x.detach() + torch.tensor([[3e-7, 0, 0], [0, 0, 0]])
    x.grad = None
    made(data=x, data2=y)["loss"].backward()
    torch.testing.assert_close(x.grad, (x.detach() - y) / 6 / 1e-6)


@pytest.mark.parametrize("dialect", ["v1", "v2", "x2", "bvlc"])
def test_sigmoid_loss_of_the_forks_ignores_loss_param(dialect):
    """SigmoidCrossEntropyLoss sum/N (all forks)."""
    text = """layer { name: "loss" type: "SigmoidCrossEntropyLoss" bottom: "data" bottom: "data2" top: "loss"
  loss_param { normalization: NONE } }"""
    dims = "dim: 2 dim: 3"
    made = CaffeNet(parse_net(INPUT % dims + (INPUT % dims).replace("data", "data2") + text, dialect=dialect))
    x, target = torch.randn(2, 3), torch.rand(2, 3)
    whole = F.binary_cross_entropy_with_logits(x, target, reduction="sum")
    torch.testing.assert_close(made(data=x, data2=target)["loss"], whole if dialect == "bvlc" else whole / 2)


@pytest.mark.parametrize(("dialect", "items"), [("v1", 200), ("v2", 50)])
def test_xavier_of_v1_counts_all_of_a_fully_connected_weight_as_fan_in(dialect, items):
    """An InnerProduct weight is (1,1,N,K) in v1, and xavier divides its count by its num."""
    text = """layer { name: "fc" type: "InnerProduct" bottom: "data" top: "y"
  inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }"""
    largest = net(text, (1, 50), dialect).params["fc"][0].abs().max().item()
    bound = math.sqrt(3 / items)
    assert 0.9 * bound < largest <= bound


def test_parameters_of_permissive_sharers_differ_in_shape_alone():
    text = """layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" param { name: "w" }
  inner_product_param { num_output: 4 bias_term: false weight_filler { type: "xavier" } } }
layer { name: "b" type: "Convolution" bottom: "data" top: "b" param { name: "w" share_mode: PERMISSIVE }
  convolution_param { num_output: 4 kernel_size: 2 bias_term: false } }"""
    x = torch.randn(1, 3, 2, 2)
    made = net(text, x.shape)
    got = made(data=x)
    torch.testing.assert_close(got["a"], got["b"].flatten(1))
    assert len(list(made.parameters())) == 1
    assert [net_arrays(made)[name][0].shape for name in "ab"] == [(4, 12), (4, 3, 2, 2)]
    got["b"].sum().backward()
    assert made.params["a"][0].grad is not None


def test_im2col_lays_windows_out_as_channels():
    text = """layers { layer { name: "i" type: "im2col" kernelsize: 3 stride: 2 pad: 1 } bottom: "data" top: "y" }"""
    made = CaffeNet(parse_net('input: "data" input_dim: 2 input_dim: 3 input_dim: 7 input_dim: 6\n' + text))
    x = torch.randn(2, 3, 7, 6)
    y = made(data=x)["y"]
    assert y.shape == made.spec.blobs["y"] == (2, 27, 4, 3)
    weight = torch.randn(5, 3, 3, 3)
    want = F.conv2d(x, weight, stride=2, padding=1)
    torch.testing.assert_close(F.conv2d(y, weight.reshape(5, 27, 1, 1)), want, rtol=1e-4, atol=1e-4)


def test_stochastic_pyramids_are_refused():
    text = 'layer { name: "s" type: "SPP" bottom: "data" top: "y" spp_param { pyramid_height: 2 pool: STOCHASTIC } }'
    with pytest.raises(ValueError, match=r"'s' \(SPP\): STOCHASTIC pooling is not supported"):
        net(text, (1, 3, 8, 8))


# What a type needs to be read at all.
FIELDS = {
    "Clip": "clip_param { min: 0 max: 1 }",
    "Convolution": "convolution_param { num_output: 4 kernel_size: 1 }",
    "Deconvolution": "convolution_param { num_output: 4 kernel_size: 1 }",
    "DenseCRF": "dense_crf_param { max_iter: 1 pos_xy_std: 3 pos_w: 1 }",
    "BN": "bn_param { bn_mode: LEARN }",
    "Embed": "embed_param { num_output: 2 input_dim: 9 }",
    "Im2col": "convolution_param { kernel_size: 1 }",
    "InnerProduct": "inner_product_param { num_output: 2 }",
    "Interp": "interp_param { zoom_factor: 2 }",
    "Pooling": "pooling_param { kernel_size: 1 }",
    "Reshape": "reshape_param { shape { dim: 0 dim: -1 } }",
    "SPP": "spp_param { pyramid_height: 1 }",
    "Tile": "tile_param { tiles: 2 }",
    "UniqueLabel": "unique_label_param { max_labels: 5 }",
}
READERS = [row for row in layer_types() if not row.data and row.bottoms[0] and has_module(row.name)]


@pytest.mark.parametrize("row", READERS, ids=lambda row: row.name)
def test_bottoms_of_odd_ranks_run_or_name_layer_and_type(row):
    """Every type, on 0 to 5 axes, with all bottoms alike or the later ones of one axis."""
    ran, refused = 0, []
    least, most = row.bottoms
    for number in {least, least if most is None else most}:
        for rank in range(6):
            for later in {(4,) * rank, (4,)}:
                shapes = {f"b{i}": (4,) * rank if i == 0 else later for i in range(number)}
                dims = "".join(f"input_shape {{ {' '.join(f'dim: {d}' for d in shape)} }}" for shape in shapes.values())
                names = "".join(f'input: "{name}" ' for name in shapes)
                blobs = " ".join(
                    [f'bottom: "{name}"' for name in shapes] + [f'top: "t{i}"' for i in range(row.tops[0])]
                )
                text = f'layer {{ name: "odd" type: "{row.name}" {blobs} {FIELDS.get(row.name, "")} }}'
                try:
                    made = CaffeNet(parse_net(f"{names} {dims} {text}"))
                    got = made(**{name: torch.zeros(shape) for name, shape in shapes.items()})
                except ValueError as error:
                    refused.append(str(error))
                    continue
                if row.name != "Filter":
                    assert {name: tuple(value.shape) for name, value in got.items()} == {
                        name: made.spec.blobs[name] for name in got
                    }
                ran += 1
    assert ran + len(refused) >= 6
    assert all(f"'odd' ({row.name})" in message for message in refused)
