from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck
from torch.nn import functional as F


def caffe_interp(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """interp.cpp as plain loops over one plane, in single precision."""
    unit = np.float32(1)
    h, w = x.shape
    rh = np.float32(h - 1) / np.float32(height - 1) if height > 1 else np.float32(0)
    rw = np.float32(w - 1) / np.float32(width - 1) if width > 1 else np.float32(0)
    top = np.empty((height, width), np.float32)
    for i in range(height):
        y = rh * np.float32(i)
        y0 = int(y)
        y1, b = y0 + (y0 < h - 1), y - np.float32(y0)
        for j in range(width):
            u = rw * np.float32(j)
            x0 = int(u)
            x1, a = x0 + (x0 < w - 1), u - np.float32(x0)
            upper = (unit - a) * x[y0, x0] + a * x[y0, x1]
            lower = (unit - a) * x[y1, x0] + a * x[y1, x1]
            top[i, j] = (unit - b) * upper + b * lower
    return top


@pytest.mark.parametrize("out", [(23, 31), (4, 5), (7, 9), (1, 9), (7, 18), (306, 41)])
def test_interp_equals_caffes_loops_bit_for_bit(run, rng, out):
    x = torch.randn(1, 1, 7, 9, generator=rng)
    ours = run("Interp", x, height=out[0], width=out[1])
    np.testing.assert_array_equal(ours[0, 0], caffe_interp(x[0, 0].numpy(), *out))


def test_blended_labels_equal_caffes_to_the_last_bit(run, rng):
    # Size 306 is not 8k + 1: labels are blended, and what is cut down to an integer depends on the last bit.
    label = torch.randint(0, 21, (1, 1, 306, 306), generator=rng).float()
    ours = run("Interp", label, shrink_factor=8)
    assert ours.shape[-2:] == (39, 39)
    np.testing.assert_array_equal(ours[0, 0], caffe_interp(label[0, 0].numpy(), 39, 39))


def test_labels_of_size_8k_plus_1_are_subsampled(run, rng):
    label = torch.randint(0, 256, (2, 1, 321, 41), generator=rng).float()
    assert torch.equal(run("Interp", label, shrink_factor=8), label[..., ::8, ::8])
    assert torch.equal(run("Interp", F.pad(label, (1, 0, 1, 0)), shrink_factor=8, pad_beg=-1), label[..., ::8, ::8])


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"zoom_factor": 8}, (49, 65)),
        ({"shrink_factor": 2}, (4, 5)),
        ({"shrink_factor": 4, "zoom_factor": 3}, (4, 7)),
        ({"height": 6, "width": 8, "pad_beg": -1, "pad_end": -2}, (6, 8)),
    ],
)
def test_interp_size_and_adjoint(run, rng, options, size):
    x = torch.randn(1, 2, 7, 9, generator=rng, dtype=torch.float64, requires_grad=True)
    assert run("Interp", x, **options).shape == (1, 2, *size)
    assert gradcheck(lambda t: run("Interp", t, **options), x)


def test_maps_of_many_channels_agree_with_maps_of_one(run, rng):
    x = torch.randn(2, 3, 41, 33, generator=rng)
    alone = torch.cat([run("Interp", channel, zoom_factor=8) for channel in x.split(1, 1)], 1)
    torch.testing.assert_close(run("Interp", x, zoom_factor=8), alone, rtol=0, atol=2e-6)


def test_padding_adds_zeros_or_crops(run, rng):
    x = torch.randn(1, 2, 20, 21, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.equal(run("Padding", x, pad_beg=-7, pad_end=-8), x[..., 7:-8, 7:-8])
    assert torch.equal(run("Padding", x, pad_beg=2, pad_end=3), F.pad(x, (2, 3, 2, 3)))
    assert gradcheck(lambda t: run("Padding", t, pad_beg=-7, pad_end=-8), x)


def test_crop_takes_the_second_bottoms_size(run, rng):
    x, like = torch.randn(2, 4, 9, 8, generator=rng), torch.zeros(2, 3, 5, 4)
    assert torch.equal(run("Crop", x, like, axis=2, offset=(2, 3)), x[:, :, 2:7, 3:7])
    assert torch.equal(run("Crop", x, like, axis=1, offset=(1,)), x[:, 1:4, 1:6, 1:5])


def test_gradient_of_a_crop_is_zero_outside_and_none_at_the_second_bottom(run, rng):
    x, like = torch.randn(1, 2, 6, 7, generator=rng).requires_grad_(), torch.zeros(1, 1, 3, 4, requires_grad=True)
    run("Crop", x, like, axis=2, offset=(1, 2)).sum().backward()
    wanted = torch.zeros(1, 2, 6, 7)
    wanted[..., 1:4, 2:6] = 1
    assert torch.equal(x.grad, wanted)
    assert like.grad is None
