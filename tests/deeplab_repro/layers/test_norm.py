from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck
from torch.nn import functional as F

from deeplab_repro.layers import build_module
from deeplab_repro.net.network import CaffeNet
from prototxt_import import layer, make_net, parse_net


def batch_norm(phase: str = "TEST", **options):
    spec = layer("BatchNorm", "bn", ["x"], ["y"], **options)
    net = make_net("one", {"x": (2, 3, 5, 4)}, [spec], phase)
    module = build_module(net.layers[0], net)
    module.reset_parameters()
    return module


def fill(module, mean, variance, factor) -> None:
    with torch.no_grad():
        module.mean.copy_(mean * factor)
        module.variance.copy_(variance * factor)
        module.factor.fill_(factor)


def test_stored_statistics_are_divided_by_the_factor(rng):
    x = torch.randn(2, 3, 5, 4, generator=rng)
    mean, variance = torch.randn(3, generator=rng), torch.rand(3, generator=rng) + 0.5
    module = batch_norm()
    fill(module, mean, variance, 999.98)
    torch.testing.assert_close(module(x), F.batch_norm(x, mean, variance), rtol=1e-5, atol=1e-5)
    assert not any(blob.requires_grad for blob in module.blobs())


def test_factor_zero_means_zero_statistics(rng):
    x = torch.randn(2, 3, 5, 4, generator=rng)
    module = batch_norm()
    fill(module, torch.ones(3), torch.ones(3), 0.0)
    torch.testing.assert_close(module(x), x / 1e-5**0.5)


def test_gradient_of_stored_statistics_is_a_plain_scale(rng):
    module = batch_norm("TRAIN", use_global_stats=True).double()
    fill(module, torch.zeros(3), torch.full((3,), 4.0), 1.0)
    x = torch.randn(2, 3, 5, 4, generator=rng, dtype=torch.float64, requires_grad=True)
    module(x).sum().backward()
    torch.testing.assert_close(x.grad, torch.full_like(x, (4 + 1e-5) ** -0.5))


def test_batch_statistics_normalise_and_accumulate(rng):
    module = batch_norm("TRAIN", use_global_stats=False).double()
    x = torch.randn(2, 3, 5, 4, generator=rng, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(module(x), F.batch_norm(x, None, None, training=True))
    module(x)
    mean, variance = x.mean((0, 2, 3)), x.transpose(0, 1).flatten(1).var(1)
    torch.testing.assert_close(module.factor, torch.tensor([1.999], dtype=torch.float64))
    torch.testing.assert_close(module.mean.detach(), 1.999 * mean.detach())
    torch.testing.assert_close(module.variance.detach(), 1.999 * variance.detach())
    assert gradcheck(module, x)


def test_scale_and_bias_broadcast_from_their_axis(run, rng):
    x, column = torch.randn(2, 3, 5, 4, generator=rng), torch.randn(2, 3, generator=rng)
    assert torch.equal(run("Scale", x), x)
    assert torch.equal(run("Scale", x, column, axis=0), x * column[:, :, None, None])
    assert torch.equal(run("Scale", x, bias_term=True), x)
    assert torch.equal(run("Bias", x, column, axis=0), x + column[:, :, None, None])


def test_lrn_and_mvn(run, rng):
    x = torch.randn(2, 7, 6, 5, generator=rng, dtype=torch.float64, requires_grad=True)
    for region in ("ACROSS_CHANNELS", "WITHIN_CHANNEL"):
        assert gradcheck(lambda t, r=region: run("LRN", t, local_size=3, alpha=0.1, norm_region=r), x)
    y = run("MVN", x)
    torch.testing.assert_close(y.mean((2, 3)), torch.zeros(2, 7, dtype=torch.float64))
    torch.testing.assert_close((y * y).mean((2, 3)), torch.ones(2, 7, dtype=torch.float64))


def test_one_value_a_channel_has_variance_zero(rng):
    """Stock BatchNorm keeps m / (m - 1) times the variance of m values, and once the variance where m is 1."""
    module = batch_norm("TRAIN", use_global_stats=False)
    x = torch.randn(1, 3, 1, 1, generator=rng, requires_grad=True)
    y = module(x)
    y.sum().backward()
    assert not y.any()
    assert not x.grad.any()
    torch.testing.assert_close(module.mean.detach(), x.detach().flatten())
    assert (module.variance.tolist(), module.factor.tolist()) == ([0, 0, 0], [1])


def test_update_global_stats_is_refused_in_training():
    with pytest.raises(ValueError, match=r"layer 'bn' \(BatchNorm\): update_global_stats is not supported"):
        batch_norm("TRAIN", use_global_stats=True, update_global_stats=True)
    assert not batch_norm("TEST", update_global_stats=True).mean.any()


def test_lrn_follows_its_formulas(run, rng):
    x = torch.randn(1, 5, 4, 4, generator=rng, dtype=torch.float64)
    square = F.pad(x * x, (0, 0, 0, 0, 1, 1)).unfold(1, 3, 1).sum(-1)
    across = run("LRN", x, local_size=3, alpha=0.6, beta=0.75, k=2.0)
    torch.testing.assert_close(across, x / (2 + 0.6 / 3 * square) ** 0.75)
    square = F.pad(x * x, (1, 1, 1, 1)).unfold(2, 3, 1).unfold(3, 3, 1).sum((-1, -2))
    within = run("LRN", x, local_size=3, alpha=0.6, beta=0.75, norm_region="WITHIN_CHANNEL")
    torch.testing.assert_close(within, x * (1 + 0.6 * square / 9) ** -0.75)
    with pytest.raises(ValueError, match="local_size is 4; it must be odd"):
        run("LRN", x, local_size=4)


def test_mvn_across_channels_of_v1_is_that_of_v2(rng):
    """The v1 fork reads past a buffer there."""
    text = 'layer { name: "m" type: "MVN" bottom: "data" top: "y" mvn_param { across_channels: true } }'
    x = torch.randn(2, 3, 4, 4, generator=rng)
    v1, v2 = (
        CaffeNet(parse_net('input: "data" input_dim: [2, 3, 4, 4] ' + text, dialect=dialect))(data=x)["y"]
        for dialect in ("v1", "v2")
    )
    torch.testing.assert_close(v1, v2)
    torch.testing.assert_close(v1.std((1, 2, 3), correction=0), torch.ones(2))
