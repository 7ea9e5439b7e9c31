from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck


def caffe_pool(x: np.ndarray, method: str, kernel, stride, pad) -> tuple[np.ndarray, np.ndarray]:
    """pooling_layer.cpp as plain loops over one plane; for MAX the second result is the mask."""
    (h, w), counts = x.shape, []
    for n, k, s, p in zip(x.shape, kernel, stride, pad, strict=True):
        count = math.ceil((n + 2 * p - k) / s) + 1
        counts.append(count - 1 if any(pad) and (count - 1) * s >= n + p else count)
    top, mask = np.zeros(counts), np.full(counts, -1)
    for i, j in itertools.product(*map(range, counts)):
        y0, x0 = i * stride[0] - pad[0], j * stride[1] - pad[1]
        y1, x1 = min(y0 + kernel[0], h + pad[0]), min(x0 + kernel[1], w + pad[1])
        area = (y1 - y0) * (x1 - x0)
        best = -np.finfo(np.float64).max
        for y, c in itertools.product(range(max(y0, 0), min(y1, h)), range(max(x0, 0), min(x1, w))):
            if method == "AVE":
                top[i, j] += x[y, c]
            elif x[y, c] > best:
                best, mask[i, j] = x[y, c], y * w + c
        top[i, j] = top[i, j] / area if method == "AVE" else best
    return top, mask


WINDOWS = [
    ((3, 3), (2, 2), (1, 1)),
    ((3, 3), (1, 1), (1, 1)),
    ((2, 2), (2, 2), (1, 1)),
    ((2, 2), (2, 2), (0, 0)),
    ((2, 2), (1, 1), (0, 0)),
    ((3, 3), (3, 3), (2, 2)),
    ((3, 2), (2, 1), (1, 0)),
    ((4, 3), (3, 2), (3, 2)),
    ((3, 1), (2, 2), (1, 0)),  # padding on one axis drops a window on the other
]


@pytest.mark.parametrize("size", [(6, 7), (9, 8), (5, 5)])
@pytest.mark.parametrize(("kernel", "stride", "pad"), WINDOWS)
@pytest.mark.parametrize("method", ["MAX", "AVE"])
def test_pooling_follows_caffes_loops(run, rng, method, kernel, stride, pad, size):
    x = torch.randint(-2, 3, (1, 1, *size), generator=rng).double()
    tops = 2 if method == "MAX" else 1
    out = run("Pooling", x, tops=tops, method=method, kernel=kernel, stride=stride, pad=pad)
    value, mask = out if tops == 2 else (out, None)
    expected, index = caffe_pool(x[0, 0].numpy(), method, kernel, stride, pad)
    np.testing.assert_allclose(value[0, 0], expected, rtol=1e-12)
    if mask is not None:
        np.testing.assert_array_equal(mask[0, 0], index)


def test_window_past_the_image_stays_without_padding(run):
    x = torch.arange(4.0).reshape(1, 1, 4, 1)
    out = run("Pooling", x, method="MAX", kernel=(1, 1), stride=(2, 1))
    assert out.flatten().tolist() == [0, 2, torch.finfo(torch.float32).min]


def test_gradient_of_equal_maxima_goes_to_the_first(run):
    for kernel, stride, pad in WINDOWS:
        x = torch.zeros(1, 1, 6, 6, requires_grad=True)
        run("Pooling", x, method="MAX", kernel=kernel, stride=stride, pad=pad).sum().backward()
        _, mask = caffe_pool(np.zeros((6, 6)), "MAX", kernel, stride, pad)
        np.testing.assert_array_equal(x.grad.flatten(), np.bincount(mask[mask >= 0], minlength=36))


@pytest.mark.parametrize("method", ["MAX", "AVE"])
@pytest.mark.parametrize(("kernel", "stride", "pad"), WINDOWS)
def test_pooling_gradient(run, rng, method, kernel, stride, pad):
    x = torch.randperm(2 * 7 * 6, generator=rng).double().reshape(1, 2, 7, 6).requires_grad_()
    assert gradcheck(lambda t: run("Pooling", t, method=method, kernel=kernel, stride=stride, pad=pad), x)


def test_global_pooling_covers_the_map(run, rng):
    x = torch.randn(2, 3, 5, 4, generator=rng)
    torch.testing.assert_close(run("Pooling", x, method="AVE", global_pooling=True), x.mean((2, 3), keepdim=True))
    torch.testing.assert_close(run("Pooling", x, method="MAX", global_pooling=True), x.amax((2, 3), keepdim=True))


def test_stochastic_pooling_is_refused(run):
    with pytest.raises(ValueError, match=r"layer 'it' \(Pooling\): STOCHASTIC"):
        run("Pooling", torch.zeros(1, 1, 4, 4), method="STOCHASTIC", kernel=(2, 2))


@pytest.mark.parametrize("pool", ["MAX", "AVE"])
@pytest.mark.parametrize("size", [(13, 17), (9, 8), (16, 12)])
def test_pyramid_joins_poolings_of_two_to_the_level_bins(run, rng, pool, size):
    x = torch.randn(1, 1, *size, generator=rng, dtype=torch.float64)
    levels = []
    for bins in (1, 2, 4):
        kernel = [math.ceil(side / bins) for side in size]
        pad = [(k * bins - side + 1) // 2 for k, side in zip(kernel, size, strict=True)]
        levels.append(caffe_pool(x[0, 0].numpy(), pool, kernel, kernel, pad)[0].ravel())
    got = run("SPP", x, pyramid_height=3, pool=pool)
    assert got.shape == (1, 21)
    np.testing.assert_allclose(got[0], np.concatenate(levels), rtol=1e-12)


def test_pyramid_of_one_level_keeps_four_axes_and_small_maps_are_refused(run, rng):
    x = torch.randn(2, 3, 5, 4, generator=rng)
    assert torch.equal(run("SPP", x, pyramid_height=1), x.amax((2, 3), keepdim=True))
    with pytest.raises(ValueError, match=r"'it' \(SPP\): pad .* must be smaller than kernel"):
        run("SPP", x, pyramid_height=4)
