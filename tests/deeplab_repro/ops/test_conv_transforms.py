"""The convolution ops under opcheck, torch.compile, torch.export and the meta device."""

import pytest
import torch
import torch.nn.functional as F
from torch.export import Dim

from deeplab_repro import AtrousConv2d, ops

methods = pytest.mark.parametrize("method", ["im2col", "library", "interlace", "direct", "winograd2", "auto"])
WINDOW = [2, 1], [3, 2], [2, 3]  # stride, padding, dilation


def tensors(device: str, dtype: torch.dtype = torch.float64, channels_last: bool = False):
    x, weight, bias = torch.randn(2, 4, 9, 8), torch.randn(6, 2, 3, 2), torch.randn(6)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    return [tensor.to(device, dtype).requires_grad_() for tensor in (x, weight, bias)]


@methods
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("with_bias", [False, True])
def test_opcheck_atrous_conv2d(device, method, channels_last, with_bias):
    x, weight, bias = tensors(device, torch.float32, channels_last)
    arguments = (x, weight, bias if with_bias else None, *WINDOW, 2, method)
    torch.library.opcheck(torch.ops.deeplab.atrous_conv2d.default, arguments)


@methods
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("wanted", [[True, True, True], [False, True, False]])
def test_opcheck_atrous_conv2d_backward(device, method, channels_last, wanted):
    x, weight, _ = tensors(device, torch.float32, channels_last)
    grad = torch.randn(2, 6, 6, 9, device=device, requires_grad=True)
    arguments = (grad, x, weight, *WINDOW, 2, method, wanted)
    torch.library.opcheck(torch.ops.deeplab.atrous_conv2d_backward.default, arguments)


def test_opcheck_im2col(device):
    x = tensors(device)[0]
    torch.library.opcheck(torch.ops.deeplab.im2col.default, (x, [3, 2], *WINDOW))
    columns = ops.im2col(x, [3, 2], *WINDOW).detach().requires_grad_()
    torch.library.opcheck(torch.ops.deeplab.col2im.default, (columns, [9, 8], [3, 2], *WINDOW))


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
@methods
def test_compile_with_dynamic_sizes(device, method, backend):
    torch._dynamo.reset()
    weight, bias = (tensor.detach().float().requires_grad_() for tensor in tensors(device)[1:])

    def model(x):
        return ops.atrous_conv2d(x, weight, bias, *WINDOW, 2, method).relu()

    compiled = torch.compile(model, dynamic=True, fullgraph=True, backend=backend)
    for size in ((2, 4, 9, 8), (3, 4, 12, 17), (1, 4, 7, 5)):
        x = torch.randn(size, device=device, requires_grad=True)
        result, expected = compiled(x), model(x)
        torch.testing.assert_close(result, expected)
        ours = torch.autograd.grad(result.sum(), [x, weight, bias])
        theirs = torch.autograd.grad(expected.sum(), [x, weight, bias])
        torch.testing.assert_close(ours, theirs)


def test_compile_im2col_with_dynamic_sizes(device):
    torch._dynamo.reset()

    def model(x):
        return ops.col2im(ops.im2col(x, 3, 1, 2, 2), x.shape[2:], 3, 1, 2, 2)

    compiled = torch.compile(model, dynamic=True, fullgraph=True, backend="aot_eager")
    for size in ((2, 4, 9, 8), (3, 2, 12, 17)):
        x = torch.randn(size, device=device, requires_grad=True)
        torch.testing.assert_close(compiled(x), model(x))


@methods
def test_export_with_dynamic_sizes(device, method):
    layer = AtrousConv2d(4, 6, 3, padding=4, dilation=4, method=method).to(device)
    sizes = {0: Dim("batch"), 2: Dim("height"), 3: Dim("width")}
    program = torch.export.export(layer, (torch.randn(2, 4, 9, 8, device=device),), dynamic_shapes=({**sizes},))
    x = torch.randn(3, 4, 15, 21, device=device)
    torch.testing.assert_close(program.module()(x), layer(x))


@methods
def test_meta_knows_shape_type_and_layout(method):
    x, weight, bias = tensors("cpu", torch.float32, channels_last=True)
    real = ops.atrous_conv2d(x, weight, bias, *WINDOW, 2, method)
    meta = ops.atrous_conv2d(*(t.to("meta") for t in (x, weight, bias)), *WINDOW, 2, method)
    assert meta.is_meta
    assert (meta.shape, meta.dtype, meta.stride()) == (real.shape, real.dtype, real.stride())


def test_meta_refuses_what_the_kernels_refuse():
    x = torch.empty(1, 2, 5, 5, device="meta")
    with pytest.raises(RuntimeError, match="the dilated kernel's height"):
        ops.im2col(x, 3, dilation=3)
    with pytest.raises(RuntimeError, match="weight's channels times groups"):
        ops.atrous_conv2d(x, torch.empty(2, 3, 3, 3, device="meta"))


@methods
def test_no_copy_of_a_convolution_enters_the_autograd_graph(method):
    x, weight, bias = tensors("cpu")
    result = ops.atrous_conv2d(x, weight, bias, *WINDOW, 2, method)
    assert "atrous_conv2d" in result.grad_fn.name()
    torch.testing.assert_close(result, F.conv2d(x, weight, bias, *WINDOW, 2))
