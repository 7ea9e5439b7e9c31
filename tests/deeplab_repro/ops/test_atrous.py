"""AtrousConv2d: its cache of packed weights, its dtypes, and what else it is as a module."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F

from deeplab_repro import AtrousConv2d, ops
from deeplab_repro.ops import atrous

methods = pytest.mark.parametrize("method", ops.PACKED_METHODS)


def layer_and_input(method: str = "direct", dtype: torch.dtype = torch.float32, **options):
    layer = AtrousConv2d(20, 70, 3, padding=4, dilation=4, method=method, dtype=dtype, **options).eval()
    return layer, torch.randn(2, 20, 13, 11, dtype=dtype).contiguous(memory_format=torch.channels_last)


def reference(layer: AtrousConv2d, x: torch.Tensor) -> torch.Tensor:
    y = F.conv2d(x, layer.weight, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups)
    return y.relu() if layer.relu else y


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
    ("kernel", "dilation", "word"), [(3, 4, "same"), ((1, 5), (3, 2), "same"), (2, 2, "same"), (3, 2, "valid")]
)
def test_padding_by_word_is_conv2ds(kernel, dilation, word):
    layer = AtrousConv2d(3, 4, kernel, padding=word, dilation=dilation)
    x = torch.randn(1, 3, 13, 12)
    want = F.conv2d(x, layer.weight, layer.bias, padding=word, dilation=dilation)
    torch.testing.assert_close(layer(x), want, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"padding": "same", "stride": 2}, r"'same' needs stride 1, got \(2, 2\)"),
        ({"padding": "same", "kernel_size": 2}, "'same' takes 1 rows and 1 columns"),
        ({"padding": "full"}, "'same' or 'valid', got 'full'"),
        ({"padding_mode": "reflect"}, "padding_mode must be 'zeros', as in Caffe, got 'reflect'"),
    ],
)
def test_what_conv2d_has_and_caffe_has_not_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        AtrousConv2d(3, 4, **{"kernel_size": 3, **options})


@pytest.mark.parametrize("options", [{}, {"bias": False, "stride": 2}, {"groups": 4, "padding": "same", "dilation": 3}])
def test_a_convolution_of_torchs_becomes_one_of_ours_and_back(options):
    conv = torch.nn.Conv2d(8, 12, 3, **options).eval()
    ours, x = AtrousConv2d.from_conv(conv), torch.randn(2, 8, 17, 19)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), conv(x))
        back = ours.to_conv()
        assert torch.equal(back(x), conv(x))
    assert back.weight is conv.weight
    assert list(back.state_dict()) == list(conv.state_dict())
    assert not back.training
    with pytest.raises(ValueError, match="padding_mode must be 'zeros'"):
        AtrousConv2d.from_conv(torch.nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"))
    with pytest.raises(ValueError, match="relu is part of this module"):
        AtrousConv2d(2, 2, 3, relu=True).to_conv()
