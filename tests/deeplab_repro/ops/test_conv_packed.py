"""Packed weights: the ops, AtrousConv2d's cache of them, and the choice of a method."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from deeplab_repro import AtrousConv2d, ops
from deeplab_repro.ops import _C, atrous

methods = pytest.mark.parametrize("method", ops.PACKED_METHODS)


def layer_and_input(method: str = "direct", dtype: torch.dtype = torch.float32, **options):
    layer = AtrousConv2d(20, 70, 3, padding=4, dilation=4, method=method, dtype=dtype, **options).eval()
    return layer, torch.randn(2, 20, 13, 11, dtype=dtype).contiguous(memory_format=torch.channels_last)


def reference(layer: AtrousConv2d, x: torch.Tensor) -> torch.Tensor:
    y = F.conv2d(x, layer.weight, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups)
    return y.relu() if layer.relu else y


@given(data=st.data())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_packed_agrees_with_float64_on_random_geometry(data):
    draw = data.draw
    method = draw(st.sampled_from(ops.PACKED_METHODS))
    groups, relu, last = draw(st.integers(1, 3)), draw(st.booleans()), draw(st.booleans())
    channels, filters = draw(st.sampled_from([1, 5, 17])), draw(st.sampled_from([1, 6, 65]))
    kernel = (3, 3) if method != "direct" else (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    stride = (1, 1) if method != "direct" else (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    dilation, padding = ((draw(st.integers(low, 9)), draw(st.integers(low, 9))) for low in (1, 0))
    size = [
        max(1, d * (k - 1) + 1 - 2 * p) + draw(st.integers(0, 20))
        for k, d, p in zip(kernel, dilation, padding, strict=True)
    ]
    x = torch.randn(draw(st.integers(1, 2)), groups * channels, *size, dtype=torch.float64)
    weight = torch.randn(groups * filters, channels, *kernel, dtype=torch.float64)
    bias = torch.randn(groups * filters, dtype=torch.float64) if draw(st.booleans()) else None
    expected = F.conv2d(x, weight, bias, stride, padding, dilation, groups)
    expected = expected.relu() if relu else expected
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    packed = ops.pack_weight(weight, groups, method)
    result = ops.atrous_conv2d_packed(
        x, weight, packed, bias, stride, padding, dilation, groups, method=method, relu=relu
    )
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-12 * expected.abs().max().item())


@methods
@pytest.mark.parametrize("relu", [False, True])
def test_opcheck_packed(method, relu):
    layer, x = layer_and_input()
    with torch.no_grad():
        packed = ops.pack_weight(layer.weight, 1, method)
        torch.library.opcheck(torch.ops.deeplab.atrous_conv2d_pack.default, (layer.weight.detach(), 1, method))
        window = [1, 1], [4, 4], [4, 4], 1
        arguments = (x, layer.weight.detach(), packed, layer.bias.detach(), *window, method, relu)
        torch.library.opcheck(torch.ops.deeplab.atrous_conv2d_packed.default, arguments)


@methods
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_module_packs_once(method, mode, monkeypatch):
    layer, x = layer_and_input(method)
    packs = []
    monkeypatch.setattr(atrous, "pack_weight", lambda *a, pack=ops.pack_weight: packs.append(a) or pack(*a))
    with mode():
        for _ in range(3):
            torch.testing.assert_close(layer(x), reference(layer, x), rtol=0, atol=1e-4)
    assert len(packs) == 1


CHANGES = {
    "in_place": lambda layer: layer.weight.mul_(2),
    "copied": lambda layer: layer.weight.copy_(torch.randn_like(layer.weight)),
    "loaded": lambda layer: layer.load_state_dict(layer_and_input()[0].state_dict()),
    "assigned": lambda layer: setattr(layer, "weight", torch.nn.Parameter(torch.randn_like(layer.weight))),
    "data_replaced": lambda layer: setattr(layer.weight, "data", torch.randn_like(layer.weight)),
    "laid_out": lambda layer: layer.to(memory_format=torch.channels_last),
    "optimised": lambda layer: torch.optim.SGD(layer.parameters(), 1e-3).step(),
    "data_changed_and_repacked": lambda layer: (layer.weight.data.mul_(2), layer.repack()),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_module_packs_again_when_the_weight_changes(change):
    layer, x = layer_and_input("winograd4")
    layer(x).sum().backward()
    with torch.no_grad():
        layer(x)
        change(layer)
        torch.testing.assert_close(layer(x), reference(layer, x), rtol=0, atol=1e-4)


def test_module_repacks_for_another_dtype():
    layer, x = layer_and_input()
    with torch.no_grad():
        layer(x)
        torch.testing.assert_close(layer.double()(x.double()), reference(layer, x.double()))
        exact = reference(layer.bfloat16().double(), x.bfloat16().double())
        rounded = layer.bfloat16()(x.bfloat16())
        assert rounded.dtype == torch.bfloat16
        torch.testing.assert_close(rounded.double(), exact, rtol=2**-8, atol=2e-6)


@methods
def test_bfloat16_is_packed_in_float32_and_rounded_once(method):
    layer, x = layer_and_input(method, torch.bfloat16, relu=True)
    with torch.no_grad():
        assert ops.pack_weight(layer.weight, 1, method).dtype == torch.float32
        result = layer(x)
        assert result.dtype == torch.bfloat16
        assert result.is_contiguous(memory_format=torch.channels_last)
        exact = F.conv2d(x.double(), layer.weight.double(), layer.bias.double(), 1, 4, 4).relu()
    # Half a unit in the eighth bit, and the float32 ways' own error.
    torch.testing.assert_close(result.double(), exact, rtol=2**-8, atol=1e-5)


@methods
def test_training_gives_gradients_after_inference(method):
    layer, x = layer_and_input(method, torch.float64, relu=True)
    with torch.no_grad():
        layer(x)
    parameters = list(layer.parameters())
    ours = torch.autograd.grad(layer(x).square().sum(), parameters)
    theirs = torch.autograd.grad(reference(layer, x).square().sum(), parameters)
    torch.testing.assert_close(ours, theirs)


def test_packed_weights_are_neither_saved_nor_copied():
    layer, x = layer_and_input()
    with torch.no_grad():
        expected = layer(x)
        assert set(layer.state_dict()) == {"weight", "bias"}
        for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            assert not twin._packed
            torch.testing.assert_close(twin(x), expected)


def test_module_compiles_and_exports():
    torch._dynamo.reset()
    layer, x = layer_and_input("auto", relu=True)
    with torch.no_grad():
        compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(x), reference(layer, x))
        torch.testing.assert_close(torch.export.export(layer, (x,)).module()(x), reference(layer, x))


def test_nan_passes_through_relu():
    layer, x = layer_and_input("winograd2", relu=True)
    with torch.no_grad():
        layer.bias.fill_(float("nan"))
        assert layer(x).isnan().all()
        layer.method = "direct"
        assert layer(x).isnan().all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "im2col"}, "method must be one of 'direct', 'winograd2', 'winograd4', got 'im2col'"),
        ({"method": "winograd2"}, "packed must have 1600 elements with method 'winograd2', got 900"),
        ({"method": "winograd4", "stride": 2}, r"method 'winograd4' takes stride 1, got \[2, 2\]"),
        ({"packed": torch.ones(30, 30)}, r"packed must be \[elements\], got \[30, 30\]"),
        ({"packed": torch.ones(900).double()}, "packed must be Float for an input of Float, got Double"),
        ({"weight": torch.ones(10, 11, 3, 3)}, r"weight's channels times groups \(11 \* 1\), got 10"),
    ],
)
def test_wrong_packed_arguments_are_named(change, message):
    arguments = {"x": torch.ones(1, 10, 7, 7), "weight": torch.ones(10, 10, 3, 3), "packed": torch.ones(900)} | change
    with pytest.raises(RuntimeError, match=f"atrous_conv2d_packed: .*{message}"):
        ops.atrous_conv2d_packed(**arguments)


@pytest.mark.parametrize(
    ("weight", "groups", "method", "message"),
    [
        (torch.ones(4, 5, 1, 1), 1, "winograd2", r"method 'winograd2' takes 3x3 kernels, got \[4, 5, 1, 1\]"),
        (torch.ones(4, 5, 3), 1, "direct", r"weight must be \[F, C / groups, kernel_h, kernel_w\]"),
        (torch.ones(4, 5, 3, 3), 3, "direct", r"groups must divide the number of filters \(4\), got 3"),
        (torch.ones(4, 5, 3, 3).int(), 1, "direct", "weight must be floating point, got Int"),
    ],
)
def test_wrong_weights_are_not_packed(weight, groups, method, message):
    with pytest.raises(RuntimeError, match=f"atrous_conv2d_pack: {message}"):
        ops.pack_weight(weight, groups, method)


def plan(channels, filters, kernel, rate, size, method, groups=1, **options):
    x = torch.empty(1, channels, size, size).to(memory_format=torch.channels_last)
    weight = torch.empty(filters, channels // groups, kernel, kernel)
    padding = rate * (kernel - 1) // 2
    return ops.plan(x, weight, 1, padding, rate, groups, method=method, **options)


@pytest.mark.parametrize(
    ("shape", "auto", "fast"),
    [
        ((512, 1024, 3, 6, 41), "winograd2", "winograd4"),
        ((512, 1024, 3, 12, 41), "direct", "winograd4"),
        ((512, 1024, 3, 24, 41), "direct", "direct"),
        ((512, 512, 3, 2, 41), "winograd2", "winograd4"),
        ((512, 1024, 4, 4, 41), "direct", "direct"),
        ((3, 64, 3, 1, 321), "library", "library"),
    ],
)
def test_the_cost_model_chooses_as_measured(shape, auto, fast):
    assert plan(*shape, method="auto", packed=True) == auto
    assert plan(*shape, method="fast", packed=True) == fast


def test_what_a_method_cannot_do_is_the_library_s():
    assert plan(8, 8, 5, 2, 20, "winograd") == "library"
    assert plan(8, 8, 3, 2, 20, "winograd4") == "winograd4"
    assert plan(64, 64, 3, 1, 40, "auto", groups=64) == "library"
    x, weight = torch.empty(1, 8, 9, 9), torch.empty(8, 8, 3, 3)
    assert ops.plan(x, weight, 2, 1, 1, method="winograd") == "library"
    assert ops.plan(x, weight, 2, 1, 1, method="interlace") == "library"
    assert ops.plan(x.bfloat16(), weight.bfloat16(), method="direct") == "direct"
    by_the_library = _C.has_bfloat16()
    large = torch.empty(1, 512, 41, 41).bfloat16().to(memory_format=torch.channels_last)
    way = ops.plan(large, torch.empty(1024, 512, 3, 3).bfloat16(), 1, 24, 24, packed=True)
    assert way == ("library" if by_the_library else "direct")
