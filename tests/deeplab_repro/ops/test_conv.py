"""atrous_conv2d and AtrousConv2d against torch's convolution in float64."""

from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from deeplab_repro import AtrousConv2d, atrous_conv2d
from deeplab_repro.bench.rounding import convolution_products, convolution_tolerance

METHODS = ["im2col", "library", "auto", "fast", "interlace", "direct", "winograd2", "winograd4"]


class Case(NamedTuple):
    input: tuple[int, int, int, int]
    weight: tuple[int, int, int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def options(self):
        return self.stride, self.padding, self.dilation, self.groups

    def products(self, output: Tensor) -> tuple[int, int, int]:
        """How many products are summed: of the output, of the input's gradient, of the weight's and the bias's."""
        return convolution_products(self.weight, tuple(output.shape), self.groups)

    def tensors(self, device: str, dtype: torch.dtype = torch.float64, requires_grad: bool = False):
        """input, weight, bias"""
        made = []
        for shape in (self.input, self.weight, self.weight[:1]):
            tensor = torch.randn(shape, dtype=torch.float64).to(device, dtype)
            made.append(tensor.requires_grad_(requires_grad))
        return made


CASES = {
    "3x3_rate_2": Case((2, 8, 11, 9), (6, 8, 3, 3), padding=(2, 2), dilation=(2, 2)),
    "asymmetric": Case((2, 4, 9, 12), (5, 4, 3, 2), (2, 1), (3, 2), (2, 3)),
    "groups": Case((3, 6, 8, 7), (4, 3, 3, 3), padding=(1, 1), groups=2),
    "depthwise": Case((2, 5, 7, 7), (10, 1, 3, 3), padding=(4, 4), dilation=(4, 4), groups=5),
    "rate_larger_than_the_map": Case((1, 8, 5, 6), (4, 8, 3, 3), padding=(12, 24), dilation=(12, 24)),
    "fc6_like": Case((1, 32, 21, 21), (16, 32, 4, 4), padding=(6, 6), dilation=(4, 4)),
    "strided": Case((2, 3, 13, 10), (4, 3, 3, 4), (3, 2), (1, 0)),
    "one_by_one": Case((2, 7, 5, 6), (3, 7, 1, 1)),
    "one_by_one_padded": Case((1, 4, 5, 5), (3, 4, 1, 1), padding=(1, 2)),
    "more_padding_than_reach": Case((2, 5, 6, 7), (4, 5, 3, 3), padding=(7, 9), dilation=(2, 3)),
    "several_filter_blocks": Case((2, 20, 9, 11), (130, 20, 3, 3), padding=(3, 3), dilation=(3, 3)),
    "tiles_shared_by_all_threads": Case((2, 300, 11, 9), (70, 300, 3, 3), padding=(2, 2), dilation=(2, 2)),
    "tiles_shared_in_groups": Case((1, 1200, 9, 7), (400, 600, 3, 3), padding=(3, 3), dilation=(3, 3), groups=2),
    "wide_rows": Case((1, 3, 4, 150), (5, 3, 3, 3), padding=(1, 1)),
    "one_pixel": Case((1, 3, 1, 1), (2, 3, 3, 3), padding=(6, 6), dilation=(6, 6)),
}
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
methods = pytest.mark.parametrize("method", METHODS)


def assert_close(result: Tensor, expected: Tensor, products: int, method: str = "direct") -> None:
    """Agreement relative to the largest value, as far as sums of so many products can be told apart.

    The tests draw standard normal numbers: their sums are of size sqrt(products), where none of a few should be."""
    assert result.shape == expected.shape
    # "fast", and cuDNN, may choose F(4x4, 3x3); "auto" F(2x2, 3x3).
    cudnn = result.is_cuda and method not in ("im2col", "direct", "winograd2")
    way = "winograd4" if cudnn or method == "fast" else "winograd2" if method == "auto" else method
    if expected.numel():
        size = expected.abs().max().clamp(min=max(products, 1) ** 0.5).cpu()
        error = (result.double().cpu() - expected.cpu()).abs().max() / size
        assert error <= convolution_tolerance(result.dtype, products, way)


@cases
@methods
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_atrous_conv2d_agrees_with_float64(device, case, method, dtype):
    x, weight, bias = case.tensors(device, dtype)
    expected = F.conv2d(x.double().cpu(), weight.double().cpu(), bias.double().cpu(), *case.options)
    result = atrous_conv2d(x, weight, bias, *case.options, method=method)
    assert result.dtype == dtype
    products, _, _ = case.products(expected)
    assert_close(result, expected, products, method)
    without_bias = F.conv2d(x.double().cpu(), weight.double().cpu(), None, *case.options)
    assert_close(atrous_conv2d(x, weight, None, *case.options, method=method), without_bias, products, method)


@cases
@methods
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_agree_with_float64(device, case, method, dtype):
    tensors = case.tensors(device, dtype, requires_grad=True)
    exact = [tensor.detach().double().cpu().requires_grad_() for tensor in tensors]
    expected = F.conv2d(*exact, *case.options)
    grad = torch.randn_like(expected)
    result = atrous_conv2d(*tensors, *case.options, method=method)
    _, of_input, of_weight = case.products(expected)
    for ours, theirs, products in zip(
        torch.autograd.grad(result, tensors, grad.to(result)),
        torch.autograd.grad(expected, exact, grad),
        (of_input, of_weight, of_weight),
        strict=True,
    ):
        assert_close(ours, theirs, products, method)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@methods
def test_reduced_types_round_a_float32_sum(device, method, dtype):
    case = CASES["fc6_like"]
    tensors = case.tensors(device, dtype, requires_grad=True)
    exact = [tensor.detach().double().cpu().requires_grad_() for tensor in tensors]
    expected = F.conv2d(*exact, *case.options)
    result = atrous_conv2d(*tensors, *case.options, method=method)
    of_output, of_input, of_weight = case.products(expected)
    assert_close(result, expected, of_output, method)
    grad = torch.randn_like(result)
    theirs = torch.autograd.grad(expected, exact, grad.double().cpu())
    ours = torch.autograd.grad(result, tensors, grad)
    for gradient, other, products in zip(ours, theirs, (of_input, of_weight, of_weight), strict=True):
        assert_close(gradient, other, products, method)


@pytest.mark.parametrize(
    "name", ["asymmetric", "groups", "one_pixel", "one_by_one", "rate_larger_than_the_map", "more_padding_than_reach"]
)
@pytest.mark.parametrize("method", ["im2col", "library", "interlace", "direct", "winograd2", "winograd4"])
def test_gradcheck(device, name, method):
    case = CASES[name]._replace(input=(1, *CASES[name].input[1:]))
    tensors = case.tensors(device, requires_grad=True)
    # Fast mode: one random direction each; the full Jacobians of nets this wide take minutes.
    for check in (torch.autograd.gradcheck, torch.autograd.gradgradcheck):
        call = lambda *t: atrous_conv2d(*t, *case.options, method=method)  # noqa: E731
        # cuDNN's gradients may differ from call to call in their last bits.
        assert check(call, tensors, fast_mode=True, nondet_tol=1e-9 if device == "cuda" else 0.0)


@methods
@pytest.mark.parametrize("wanted", [(True, False, False), (False, True, False), (False, False, True)])
def test_only_wanted_gradients_are_computed(device, method, wanted):
    case = CASES["groups"]
    x, weight, bias = (tensor.requires_grad_(flag) for tensor, flag in zip(case.tensors(device), wanted, strict=True))
    atrous_conv2d(x, weight, bias, *case.options, method=method).sum().backward()
    assert tuple(tensor.grad is not None for tensor in (x, weight, bias)) == wanted


@methods
def test_empty_batch(device, method):
    case = CASES["asymmetric"]._replace(input=(0, 4, 9, 12))
    x, weight, bias = case.tensors(device, requires_grad=True)
    result = atrous_conv2d(x, weight, bias, *case.options, method=method)
    assert result.shape == (0, 5, 6, 13)
    result.sum().backward()
    assert x.grad.shape == x.shape
    assert not weight.grad.any()
    assert not bias.grad.any()


@methods
@pytest.mark.parametrize("layout", ["channels_last", "transposed", "sliced", "plain_but_gradient_expanded"])
def test_any_strides_are_read(device, method, layout):
    case = CASES["3x3_rate_2"]
    x, weight, bias = case.tensors(device)
    expected = F.conv2d(x.cpu(), weight.cpu(), bias.cpu(), *case.options)
    strided, strided_weight = {
        "channels_last": (x.to(memory_format=torch.channels_last), weight.to(memory_format=torch.channels_last)),
        "transposed": (x.mT.contiguous().mT, weight.transpose(0, 1).contiguous().transpose(0, 1)),
        "sliced": (torch.stack([x, x], -1)[..., 0], torch.stack([weight, weight], -1)[..., 1]),
        "plain_but_gradient_expanded": (x, weight),
    }[layout]
    strided, strided_weight = strided.detach().requires_grad_(), strided_weight.detach().requires_grad_()
    result = atrous_conv2d(strided, strided_weight, bias, *case.options, method=method)
    of_output, of_input, of_weight = case.products(expected)
    assert_close(result, expected, of_output, method)
    result.sum().backward()
    exact = [t.detach().cpu().clone().requires_grad_() for t in (x, weight)]
    F.conv2d(*exact, bias.cpu(), *case.options).sum().backward()
    assert_close(strided.grad, exact[0].grad, of_input, method)
    assert_close(strided_weight.grad, exact[1].grad, of_weight, method)


@methods
def test_all_but_im2col_keep_channels_last(device, method):
    x, weight, _ = CASES["3x3_rate_2"].tensors(device, torch.float32)
    assert atrous_conv2d(x, weight, method=method).is_contiguous()
    x = x.contiguous(memory_format=torch.channels_last)
    kept = torch.contiguous_format if method == "im2col" else torch.channels_last
    assert atrous_conv2d(x, weight, method=method).is_contiguous(memory_format=kept)


@pytest.mark.parametrize("method", ["im2col", "direct", "winograd2", "winograd4"])
def test_repeats_to_the_bit(device, method):
    case = Case((3, 16, 33, 31), (8, 16, 3, 3), padding=(6, 6), dilation=(6, 6))
    tensors = case.tensors(device, torch.float32, requires_grad=True)

    def once():
        result = atrous_conv2d(*tensors, *case.options, method=method)
        return [result, *torch.autograd.grad(result.square().sum(), tensors)]

    for first, second in zip(once(), once(), strict=True):
        assert torch.equal(first, second)


@pytest.mark.gpu
@pytest.mark.parametrize("device", [pytest.param("cuda")], indirect=True)
def test_columns_beyond_the_buffer_are_made_in_chunks(device):
    # 18.9 MB of columns an image: 14 images fill 256 MiB, 40 take three chunks.
    case = Case((40, 64, 64, 64), (8, 64, 3, 3), (1, 1), (2, 2), (2, 2))
    tensors = case.tensors(device, torch.float64, requires_grad=True)
    result = atrous_conv2d(*tensors, *case.options, method="im2col")
    expected = F.conv2d(*tensors, *case.options)
    most = max(case.products(expected))
    assert_close(result, expected, most)
    grad = torch.randn_like(result)
    theirs = torch.autograd.grad(expected, tensors, grad)
    for ours, gradient in zip(torch.autograd.grad(result, tensors, grad), theirs, strict=True):
        assert_close(ours, gradient, most)


@given(data=st.data())
@settings(max_examples=400, deadline=None, derandomize=True)
def test_random_geometry_agrees_with_float64(data):
    draw = data.draw
    small = st.integers(1, 4)
    groups = draw(small)
    winograd_applies = draw(st.booleans())
    channels, filters = groups * draw(small), groups * draw(small)
    kernel, stride, dilation = ((draw(st.integers(1, top)), draw(st.integers(1, top))) for top in (4, 3, 13))
    if winograd_applies:
        kernel, stride = (3, 3), (1, 1)
    padding = (draw(st.integers(0, 14)), draw(st.integers(0, 14)))
    size = tuple(
        draw(st.integers(max(1, d * (k - 1) + 1 - 2 * p), max(1, d * (k - 1) + 1 - 2 * p) + 9))
        for k, d, p in zip(kernel, dilation, padding, strict=True)
    )
    case = Case(
        (draw(st.integers(0, 3)), channels, *size),
        (filters, channels // groups, *kernel),
        stride, padding, dilation, groups,
    )  # fmt: skip
    dtype = draw(st.sampled_from([torch.float64, torch.float32, torch.bfloat16]))
    method = draw(st.sampled_from(METHODS))
    exact = [t.to(dtype).double().requires_grad_() for t in case.tensors("cpu")]
    layouts = st.sampled_from(list(LAYOUTS.values()))
    tensors = [draw(layouts)(t.detach().to(dtype)).requires_grad_() for t in exact[:2]]
    tensors.append(exact[2].detach().to(dtype).requires_grad_())
    expected = F.conv2d(*exact, *case.options)
    grad = torch.randn_like(expected).to(dtype)
    result = atrous_conv2d(*tensors, *case.options, method=method)
    assert result.dtype == dtype
    of_output, of_input, of_weight = case.products(expected)
    assert_close(result, expected.detach(), of_output, method)
    theirs = torch.autograd.grad(expected, exact, grad.double())
    ours = torch.autograd.grad(result, tensors, grad)
    for gradient, other, products in zip(ours, theirs, (of_input, of_weight, of_weight), strict=True):
        assert_close(gradient, other, products, method)


LAYOUTS = {
    "contiguous": lambda t: t,
    "channels_last": lambda t: t.contiguous(memory_format=torch.channels_last),
    "transposed": lambda t: t.mT.contiguous().mT,
    "sliced": lambda t: torch.stack([t, t], -1)[..., 1],
}


def test_autocast_converts_like_torch():
    case = CASES["3x3_rate_2"]
    x, weight, bias = case.tensors("cpu", torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        result = atrous_conv2d(x, weight, bias)
        expected = F.conv2d(x, weight, bias)
    assert result.dtype == torch.bfloat16
    assert_close(result, expected.double(), case.products(expected)[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.ones(4, 5, 6)}, r"atrous_conv2d: input must be \[N, C, H, W\], got \[4, 5, 6\]"),
        ({"weight": torch.ones(3, 4)}, r"weight must be \[F, C / groups, kernel_h, kernel_w\], got \[3, 4\]"),
        ({"weight": torch.ones(3, 4, 3, 3).double()}, r"weight must have the dtype of input \(Float\), got Double"),
        (
            {"x": torch.ones(1, 4, 5, 6).int(), "weight": torch.ones(3, 4, 3, 3).int()},
            "must be floating point, got Int",
        ),
        ({"weight": torch.ones(3, 4, 3, 3, device="meta")}, r"weight must be on the device of input \(cpu\), got meta"),
        ({"bias": torch.ones(3, 1)}, r"bias must be \[F\], got \[3, 1\]"),
        ({"bias": torch.ones(4)}, r"bias must have one value per filter \(3\), got \[4\]"),
        ({"bias": torch.ones(3).double()}, r"bias must have the dtype of input \(Float\), got Double"),
        ({"weight": torch.ones(3, 5, 3, 3)}, r"weight's channels times groups \(5 \* 1\), got 4"),
        ({"groups": 2, "weight": torch.ones(3, 2, 3, 3)}, r"groups must divide the number of filters \(3\), got 2"),
        ({"groups": 0}, "groups must be positive, got 0"),
        ({"weight": torch.ones(0, 4, 3, 3)}, "weight must have at least one filter"),
        ({"weight": torch.ones(3, 4, 0, 3)}, r"kernel must be positive, got \[0, 3\]"),
        ({"stride": 0}, r"stride must be positive, got \[0, 0\]"),
        ({"padding": (0, -1)}, r"padding must be non-negative, got \[0, -1\]"),
        ({"dilation": (1, 0)}, r"dilation must be positive, got \[1, 0\]"),
        ({"dilation": (1, 3)}, r"the dilated kernel's width \(7\) must be at most the padded input's \(6\)"),
        ({"method": "fastest"}, "method must be one of 'auto', 'fast', 'im2col', .*, got 'fastest'"),
    ],
)
@pytest.mark.parametrize("method", ["im2col", "library"])
def test_wrong_arguments_are_named(change, message, method):
    arguments = {"x": torch.ones(1, 4, 5, 6), "weight": torch.ones(3, 4, 3, 3), "method": method} | change
    with pytest.raises(RuntimeError, match=message):
        atrous_conv2d(**arguments)


def test_gradient_of_another_size_is_refused():
    x, weight = torch.ones(1, 4, 5, 6), torch.ones(3, 4, 3, 3)
    with pytest.raises(RuntimeError, match=r"grad must have the output's sizes \[1, 3, 3, 4\], got \[1, 3, 3, 3\]"):
        torch.ops.deeplab.atrous_conv2d_backward(
            torch.ones(1, 3, 3, 3), x, weight, [1, 1], [0, 0], [1, 1], 1, "im2col", [True, True, True]
        )


@methods
def test_module_is_conv2d_with_a_method(device, method):
    options = {"stride": (2, 1), "padding": 3, "dilation": (2, 3), "groups": 2}
    torch.manual_seed(3)
    ours = AtrousConv2d(4, 6, (3, 2), **options, method=method).to(device)
    torch.manual_seed(3)
    theirs = torch.nn.Conv2d(4, 6, (3, 2), **options).to(device)
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 4, 9, 8, device=device)
    torch.testing.assert_close(ours(x), theirs(x))
    assert repr(ours) == f"Atrous{theirs!r}"[:-1] + f", method='{method}')"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"groups": 3}, "in_channels must be a positive multiple of groups 3, got 4"),
        ({"kernel_size": 0}, r"kernel_size must be a number or \(h, w\), each at least 1, got 0"),
        ({"dilation": (1, 2, 3)}, r"dilation must be a number or \(h, w\), each at least 1, got \(1, 2, 3\)"),
    ],
)
def test_module_refuses_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        AtrousConv2d(**{"in_channels": 4, "out_channels": 6, "kernel_size": 3} | arguments)
