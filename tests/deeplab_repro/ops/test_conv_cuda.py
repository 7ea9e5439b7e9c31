"""The convolution kernels of CUDA against float64; test_conv_batched.py follows their code on the CPU."""

import contextlib

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deeplab_repro import AtrousConv2d, ops
from deeplab_repro.bench.rounding import convolution_products, convolution_tolerance
from deeplab_repro.ops.aspp import aspp

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("needs_cuda")]

OWN = ["im2col", "direct", "winograd2", "winograd4"]
METHODS = [*OWN, "auto", "fast", "library"]
MIB = 2**20


@contextlib.contextmanager
def tf32(convolutions: bool, products: bool):
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    cudnn.allow_tf32, matmul.allow_tf32 = convolutions, products
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before


def error(result: torch.Tensor, expected: torch.Tensor, products: int = 1) -> float:
    """Relative to the largest value, or to the size of a sum of so many products of standard normal numbers."""
    assert result.shape == expected.shape
    if not expected.numel():
        return 0.0
    return (
        (result.double().cpu() - expected.cpu()).abs().max()
        / expected.abs().max().clamp(min=max(products, 1) ** 0.5).cpu()
    ).item()


def bound(dtype: torch.dtype, method: str, products: int) -> float:
    """The largest error of a sum of so many products; where the library chooses, it may choose F(4x4, 3x3)."""
    return convolution_tolerance(dtype, products, method if method in OWN else "winograd4")


def drawn(shape, dtype: torch.dtype) -> torch.Tensor:
    """Values that `dtype` holds exactly, on the GPU."""
    return torch.randn(shape, dtype=torch.float64).to("cuda", dtype)


@given(data=st.data())
@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_random_geometry_agrees_with_float64(data):
    draw = data.draw
    method = draw(st.sampled_from(METHODS))
    dtype = draw(st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16]))
    groups, last = draw(st.integers(1, 3)), draw(st.booleans())
    channels, filters = draw(st.sampled_from([1, 3, 4, 16])), draw(st.sampled_from([1, 2, 5, 32]))
    free = method not in ("winograd2", "winograd4") and draw(st.booleans())
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4))) if free else (3, 3)
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3))) if free else (1, 1)
    dilation, padding = ((draw(st.integers(low, 24)), draw(st.integers(low, 24))) for low in (1, 0))
    batch = draw(st.sampled_from([0, 1, 2, 7, 32]))
    size = [
        max(1, d * (k - 1) + 1 - 2 * p) + draw(st.integers(0, 25 if batch < 3 else 6))
        for k, d, p in zip(kernel, dilation, padding, strict=True)
    ]
    x = drawn((batch, groups * channels, *size), dtype)
    weight = drawn((groups * filters, channels, *kernel), dtype)
    bias = drawn((groups * filters,), dtype) if draw(st.booleans()) else None
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    exact = [None if t is None else t.cpu().double().requires_grad_() for t in (x, weight, bias)]
    expected = F.conv2d(*exact, stride, padding, dilation, groups)
    leaves = [None if t is None else t.clone().requires_grad_() for t in (x, weight, bias)]
    result = ops.atrous_conv2d(*leaves, stride, padding, dilation, groups, method)
    assert result.dtype == dtype
    of_output, *of_gradients = convolution_products(tuple(weight.shape), tuple(expected.shape), groups)
    assert error(result, expected.detach(), of_output) <= bound(dtype, method, of_output)
    grad = drawn(tuple(expected.shape), dtype)
    wanted = [leaf for leaf in leaves if leaf is not None]
    theirs = torch.autograd.grad(expected, [leaf for leaf in exact if leaf is not None], grad.cpu().double())
    ours = torch.autograd.grad(result, wanted, grad)
    for gradient, exact_gradient, products in zip(ours, theirs, (*of_gradients, of_gradients[-1]), strict=False):
        # Sums over whole maps and batches of reduced products: twice the rounding of a sum.
        assert error(gradient, exact_gradient, products) <= 2 * bound(dtype, method, products)


@pytest.mark.parametrize("method", ["auto", "direct", "winograd2", "fast", "winograd4"])
@pytest.mark.parametrize("rate", [2, 6, 12, 24])
def test_float32_keeps_its_promise_at_full_depth(method, rate):
    x, weight = drawn((1, 512, 41, 41), torch.float32), drawn((64, 512, 3, 3), torch.float32)
    expected = F.conv2d(x.double(), weight.double(), None, 1, rate, rate)
    promised = convolution_tolerance(x.dtype, 512 * 9, "winograd4" if method in ("fast", "winograd4") else "winograd2")
    assert error(ops.atrous_conv2d(x, weight, None, 1, rate, rate, method=method), expected) <= promised


@pytest.mark.parametrize("method", OWN)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_repeats_to_the_bit(method, dtype):
    tensors = [drawn(shape, dtype).requires_grad_() for shape in ((5, 48, 33, 31), (40, 48, 3, 3), (40,))]

    def once():
        result = ops.atrous_conv2d(*tensors, 1, 6, 6, method=method)
        return [result, *torch.autograd.grad(result.float().square().sum(), tensors)]

    first = once()
    for _ in range(3):
        for before, again in zip(first, once(), strict=True):
            assert torch.equal(before, again)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_opcheck(method, dtype):
    x, weight, bias = (drawn(shape, dtype).requires_grad_() for shape in ((2, 8, 11, 9), (6, 8, 3, 3), (6,)))
    window = [1, 1], [3, 3], [3, 3], 1, method
    torch.library.opcheck(torch.ops.deeplab.atrous_conv2d.default, (x, weight, bias, *window))


@pytest.mark.parametrize("method", ops.PACKED_METHODS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_packed_weights_with_relu(method, dtype):
    x, weight, bias = drawn((2, 20, 13, 11), dtype), drawn((70, 20, 3, 3), dtype), drawn((70,), dtype)
    packed = ops.pack_weight(weight, 1, method)
    window = [1, 1], [4, 4], [4, 4], 1
    result = ops.atrous_conv2d_packed(x, weight, packed, bias, *window, method, relu=True)
    expected = F.conv2d(x.double(), weight.double(), bias.double(), 1, 4, 4).relu()
    assert error(result, expected) <= bound(dtype, method, 20 * 9)
    torch.library.opcheck(
        torch.ops.deeplab.atrous_conv2d_packed.default, (x, weight, packed, bias, *window, method, True)
    )


def test_module_packs_once_and_again_after_a_move():
    layer = AtrousConv2d(20, 70, 3, padding=4, dilation=4, method="winograd4", relu=True).eval()
    x = torch.randn(2, 20, 13, 11)
    with torch.no_grad():
        expected = layer(x)
        for _ in range(2):
            torch.testing.assert_close(layer.cuda()(x.cuda()).cpu(), expected, rtol=0, atol=1e-4)
        assert [kept.weight.device.type for kept in layer._packed.values()] == ["cuda"]


@pytest.mark.parametrize("method", OWN)
def test_a_graph_replays_what_was_captured(method):
    x, weight, bias = (drawn(shape, torch.float32) for shape in ((2, 32, 21, 19), (24, 32, 3, 3), (24,)))
    side = torch.cuda.Stream()
    with torch.cuda.stream(side), torch.no_grad():
        ops.atrous_conv2d(x, weight, bias, 1, 4, 4, method=method)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph), torch.no_grad():
        result = ops.atrous_conv2d(x, weight, bias, 1, 4, 4, method=method)
    x.copy_(drawn(tuple(x.shape), torch.float32))
    graph.replay()
    assert error(result, F.conv2d(x.double(), weight.double(), bias.double(), 1, 4, 4)) <= bound(
        x.dtype, method, 32 * 9
    )


@pytest.mark.parametrize("method", ops.PACKED_METHODS)
@pytest.mark.parametrize("batch", [1, 10])
def test_memory_stays_within_its_bound(method, batch):
    x = drawn((batch, 512, 41, 41), torch.float32).contiguous(memory_format=torch.channels_last)
    weight = drawn((1024, 512, 3, 3), torch.float32)
    packed = ops.pack_weight(weight, 1, method)

    def extra() -> int:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        result = ops.atrous_conv2d_packed(x, weight, packed, None, 1, 12, 12, 1, method=method)
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before - result.nbytes

    extra()  # the libraries' workspaces
    columns = batch * 512 * 9 * 41 * 41 * x.element_size()
    # Where a region leaves columns of taps out, the others are brought together: two thirds of this weight.
    taps = weight.nbytes * 2 // 3 if method == "direct" else 0
    assert extra() <= max(32 * MIB, columns // 4) + taps + 2 * MIB


@pytest.mark.parametrize("method", ["direct", "winograd2"])
def test_tensorfloat32_only_where_convolutions_may_use_it(method):
    x, weight = drawn((1, 256, 41, 41), torch.float32), drawn((64, 256, 3, 3), torch.float32)
    expected = F.conv2d(x.double(), weight.double(), None, 1, 12, 12)
    with tf32(convolutions=False, products=True):
        allowed = bound(x.dtype, method, 256 * 9)
        assert error(ops.atrous_conv2d(x, weight, None, 1, 12, 12, method=method), expected) <= allowed
    with tf32(convolutions=True, products=True):
        assert error(ops.atrous_conv2d(x, weight, None, 1, 12, 12, method=method), expected) <= 1e-2


@pytest.mark.parametrize("method", OWN)
def test_rates_beyond_the_map_meet_the_centre_alone(method):
    x, weight = drawn((3, 16, 9, 7), torch.float32), drawn((8, 16, 3, 3), torch.float32)
    result = ops.atrous_conv2d(x, weight, None, 1, 48, 48, method=method)
    assert error(result, F.conv2d(x.double(), weight[:, :, 1:2, 1:2].double())) <= bound(x.dtype, method, 16 * 9)


@pytest.mark.parametrize("filters", [21, 128])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_aspp(filters, dtype):
    x, rates = drawn((2, 64, 33, 33), dtype), (6, 12, 18, 24)
    weights = [drawn((filters, 64, 3, 3), dtype).requires_grad_() for _ in rates]
    biases = [drawn((filters,), dtype) for _ in rates]
    exact = [w.detach().double().requires_grad_() for w in weights]
    expected = sum(F.conv2d(x.double(), w, b.double(), 1, r, r) for w, b, r in zip(exact, biases, rates, strict=True))
    result = aspp(x, weights, biases, rates)
    # The sum of four results, each rounded to the type.
    allowed = 2 * bound(dtype, "direct", 4 * 64 * 9)
    assert error(result, expected.detach()) <= allowed
    grad = drawn(tuple(expected.shape), dtype)
    theirs = torch.autograd.grad(expected, exact, grad.double())
    for ours, gradient in zip(torch.autograd.grad(result, weights, grad), theirs, strict=True):
        assert error(ours, gradient) <= 2 * allowed


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_shifted_sums_equal_the_cpu_s(dtype):
    # More taps than travel in one launch; integers, so that no sum is rounded.
    offsets = [(i % 11 - 5, i % 7 - 3) for i in range(150)] + [(99, 0), (0, -99)]
    values = torch.randint(-1, 2, (2, 6, 5, len(offsets), 3)).to(dtype)
    assert torch.equal(ops.shift_add(values.cuda(), offsets).cpu(), ops.shift_add(values, offsets))
    maps = torch.randint(-8, 8, (2, 3, 6, 5)).to(dtype)
    pairs = [dy for dy, _ in offsets], [dx for _, dx in offsets]
    gather = torch.ops.deeplab.shift_gather
    assert torch.equal(gather(maps.cuda(), *pairs).cpu(), gather(maps, *pairs))
