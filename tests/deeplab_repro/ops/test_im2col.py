"""im2col and col2im against torch's unfold and fold."""

import pytest
import torch
import torch.nn.functional as F

from deeplab_repro import ops

# (input shape, kernel, stride, padding, dilation)
WINDOWS = {
    "3x3": ((2, 3, 7, 5), (3, 3), (1, 1), (1, 1), (1, 1)),
    "asymmetric": ((2, 2, 9, 6), (3, 2), (2, 1), (3, 2), (2, 3)),
    "stride_drops_the_rest": ((1, 2, 10, 11), (4, 3), (3, 4), (0, 1), (1, 2)),
    "rate_larger_than_the_map": ((2, 2, 5, 4), (3, 3), (1, 1), (12, 24), (12, 24)),
    "one_position": ((1, 4, 7, 7), (4, 4), (1, 1), (0, 0), (2, 2)),
    "pointwise": ((2, 3, 4, 5), (1, 1), (1, 1), (0, 0), (1, 1)),
    "empty_batch": ((0, 3, 4, 5), (3, 3), (1, 1), (1, 1), (1, 1)),
}
windows = pytest.mark.parametrize(
    ("shape", "kernel", "stride", "padding", "dilation"), WINDOWS.values(), ids=WINDOWS.keys()
)


@windows
def test_im2col_equals_unfold(device, shape, kernel, stride, padding, dilation):
    x = torch.randn(shape, device=device)
    if shape[0] == 0:
        expected = F.unfold(torch.zeros(1, *shape[1:], device=device), kernel, dilation, padding, stride)[:0]
    else:
        expected = F.unfold(x, kernel, dilation, padding, stride)
    assert torch.equal(ops.im2col(x, kernel, stride, padding, dilation), expected)


@windows
def test_col2im_sums_what_fold_sums(device, shape, kernel, stride, padding, dilation):
    columns = torch.randn_like(ops.im2col(torch.empty(shape, dtype=torch.float64), kernel, stride, padding, dilation))
    columns = columns.to(device)
    result = ops.col2im(columns, shape[2:], kernel, stride, padding, dilation)
    assert result.shape == shape
    if shape[0]:
        torch.testing.assert_close(result, F.fold(columns, shape[2:], kernel, dilation, padding, stride))


@windows
def test_each_is_the_gradient_of_the_other(device, shape, kernel, stride, padding, dilation):
    x = torch.randn(shape, device=device, dtype=torch.float64, requires_grad=True)
    columns = ops.im2col(x, kernel, stride, padding, dilation)
    weights = torch.randn_like(columns, requires_grad=True)
    (to_x,) = torch.autograd.grad((columns * weights).sum(), x)
    assert torch.equal(to_x, ops.col2im(weights, shape[2:], kernel, stride, padding, dilation))
    if shape[0]:
        assert torch.autograd.gradgradcheck(
            lambda x: ops.im2col(x, kernel, stride, padding, dilation), x, fast_mode=True
        )
        assert torch.autograd.gradgradcheck(
            lambda c: ops.col2im(c, shape[2:], kernel, stride, padding, dilation), weights, fast_mode=True
        )


@pytest.mark.parametrize("layout", ["transposed", "channels_last", "sliced"])
def test_any_strides_are_read(device, layout):
    x = torch.randn(2, 3, 8, 6, device=device)
    strided = {
        "transposed": x.transpose(2, 3).contiguous().transpose(2, 3),
        "channels_last": x.contiguous(memory_format=torch.channels_last),
        "sliced": torch.stack([x, x], dim=-1)[..., 0],
    }[layout]
    assert torch.equal(ops.im2col(strided, 3, 1, 2, 2), ops.im2col(x, 3, 1, 2, 2))
    columns = ops.im2col(x, 3, 1, 2, 2)
    strided_columns = columns.transpose(1, 2).contiguous().transpose(1, 2)
    assert torch.equal(ops.col2im(strided_columns, (8, 6), 3, 1, 2, 2), ops.col2im(columns, (8, 6), 3, 1, 2, 2))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_reduced_types_on_cuda_sum_in_float32(device, dtype):
    x = torch.randn(2, 3, 9, 7, device=device).to(dtype)
    if device == "cpu":
        with pytest.raises(RuntimeError, match="im2col: input must be float32 or float64 on the CPU, got"):
            ops.im2col(x, 3)
        return
    columns = ops.im2col(x, 3, 1, 1)
    assert torch.equal(columns, F.unfold(x.float(), 3, 1, 1).to(dtype))
    assert torch.equal(ops.col2im(columns, (9, 7), 3, 1, 1), ops.col2im(columns.float(), (9, 7), 3, 1, 1).to(dtype))


def test_an_int_means_both_axes():
    x = torch.randn(1, 2, 6, 6)
    assert torch.equal(ops.im2col(x, 3, 2, 1, 2), ops.im2col(x, (3, 3), [2, 2], (1, 1), (2, 2)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: ops.im2col(x[0], 3), r"im2col: input must be \[N, C, H, W\], got \[2, 5, 6\]"),
        (lambda x: ops.im2col(x, (3, 3, 3)), r"im2col: kernel must be two numbers \(h, w\), got \[3, 3, 3\]"),
        (lambda x: ops.im2col(x, (0, 1)), r"im2col: kernel must be positive, got \[0, 1\]"),
        (lambda x: ops.im2col(x, 1, stride=-1), r"im2col: stride must be positive, got \[-1, -1\]"),
        (lambda x: ops.im2col(x, 1, padding=(0, -1)), r"im2col: padding must be non-negative, got \[0, -1\]"),
        (lambda x: ops.im2col(x, 1, dilation=0), r"im2col: dilation must be positive, got \[0, 0\]"),
        (
            lambda x: ops.im2col(x, 3, dilation=3),
            r"im2col: the dilated kernel's height \(7\) must be at most the padded input's \(5\)",
        ),
        (lambda x: ops.im2col(x, 1, padding=2**31), "must be at most 2147483647, got 2147483648"),
        (lambda x: ops.im2col(x, 1, padding=2**31 - 1), r"the columns must have fewer than 2\^63 elements"),
        (lambda x: ops.im2col(x.int(), 3), "im2col: input must be float32 or float64 on the CPU, got Int"),
        (lambda x: ops.col2im(x, 3, 3), r"col2im: columns must be \[N, C \* kernel_h \* kernel_w, L\], got"),
        (lambda x: ops.col2im(x[0], 3, (2, 3)), r"columns must have a multiple of kernel_h \* kernel_w = 6 rows"),
        (lambda x: ops.col2im(x[0], 3, (5, 1), padding=2), r"out_h \* out_w = 3 \* 7 = 21 places, got \[2, 5, 6\]"),
        (lambda x: ops.col2im(x[0], (-1, 3), 1), r"col2im: size must be non-negative, got \[-1, 3\]"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(RuntimeError, match=message):
        call(torch.randn(1, 2, 5, 6))
