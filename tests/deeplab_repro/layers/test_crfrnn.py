"""CRF-RNN: recorded passes, gradients, and how the kernels begin."""

from __future__ import annotations

import pytest
import torch

from deeplab_repro import CaffeNet, load_caffe, ops
from deeplab_repro.crf.features import bilateral_features, position_features
from prototxt_import import parse_net
from tests.deeplab_repro.layers.recorded import check_recorded

NAMES = [
    "msmf_2l_23x31_it2",
    "msmf_5l_19x22_it5",
    "msmf_21l_9x12_it10",
    "msmf_init_from_strings",
    "msmf_net_split",
    "msmf_5l_16x23_n1_it5_v1",
    "msmf_3l_13x15_n2_it3_v1",
    "msmf_master_n2",
    "fcn_crop_msmf_v1",
    "crop_fcn",
]


def text(labels: int = 3, batch: int = 1, fields: str = "num_iterations: 2") -> str:
    inputs = "".join(
        f'input: "{name}" input_shape {{ dim: {batch} dim: {channels} dim: 5 dim: 6 }}\n'
        for name, channels in (("u", labels), ("q", labels), ("img", 3))
    )
    return (
        f'{inputs}layer {{ name: "inference1" type: "MultiStageMeanfield" top: "y" '
        'bottom: "u" bottom: "q" bottom: "img" '
        f"multi_stage_meanfield_param {{ theta_alpha: 8 theta_beta: 20 theta_gamma: 3 {fields} }} }}"
    )


@pytest.mark.parametrize("name", NAMES)
def test_as_recorded(name):
    check_recorded("crfrnn", name)


def draw(rng, labels: int = 3, batch: int = 1, dtype=torch.float64):
    u, q = (torch.randn(batch, labels, 5, 6, generator=rng, dtype=dtype) for _ in range(2))
    return {"u": u, "q": q, "img": torch.rand(batch, 3, 5, 6, generator=rng, dtype=dtype) * 100 - 50}


def test_gradients_are_exact(rng):
    net = CaffeNet(parse_net(text(fields="num_iterations: 3"))).double()
    blobs = net.params["inference1"]
    with torch.no_grad():
        for blob in blobs:
            blob.copy_(torch.randn(blob.shape, generator=rng, dtype=torch.float64) * 0.3)
    x = draw(rng)
    names = ["layers.inference1." + name for name in ("spatial", "bilateral", "compatibility")]

    def run(u, q, *values):
        return torch.func.functional_call(net, dict(zip(names, values, strict=True)), (), {**x, "u": u, "q": q})["y"]

    start = [x["u"], x["q"], *(blob.detach() for blob in blobs)]
    assert torch.autograd.gradcheck(run, [tensor.clone().requires_grad_() for tensor in start])


def test_every_item_of_a_batch_has_its_own_lattice(rng):
    net = CaffeNet(parse_net(text()))
    x = draw(rng, batch=3, dtype=torch.float32)
    together = net(**x)["y"]
    for i in range(3):
        alone = net(**{name: value[i : i + 1] for name, value in x.items()})["y"]
        assert torch.allclose(together[i : i + 1], alone, atol=1e-6)


def test_image_takes_no_gradient(rng):
    x = draw(rng, dtype=torch.float32)
    x["img"].requires_grad_()
    y = CaffeNet(parse_net(text()))(**x)["y"]
    y.sum().backward()
    assert x["img"].grad is None


def test_an_iteration_by_its_formula(rng):
    """result = U - M (Ws S + Wb B) of the softmax before, rows of the matrices being the label that is computed."""
    net = CaffeNet(parse_net(text(fields="num_iterations: 2"))).double()
    blobs = net.params["inference1"]
    with torch.no_grad():
        for blob in blobs:
            blob.copy_(torch.randn(blob.shape, generator=rng, dtype=torch.float64))
    x = draw(rng)
    spatial = position_features(5, 6, 3.0, dtype=torch.float64, device=torch.device("cpu"))
    bilateral = bilateral_features(x["img"].permute(0, 2, 3, 1), 8.0, 20.0)[0]
    zeros = torch.zeros(2, 5, dtype=torch.float64)  # 30 points, filled up to a multiple of four
    lattices = [
        ops.lattice_build(torch.cat([features, zeros[:, : features.shape[1]]])) for features in (spatial, bilateral)
    ]

    def filtered(q, lattice):
        raw = ops.lattice_filter(torch.cat([q.T, torch.zeros(2, 3, dtype=torch.float64)]), lattice)[:30]
        ones = torch.ones(32, 1, dtype=torch.float64)
        ones[30:] = 0
        return (raw / ops.lattice_filter(ones, lattice)[:30]).T

    ws, wb, m = (blob[0, 0] for blob in blobs)
    result = x["q"][0].flatten(1)
    for _ in range(2):
        q = result.softmax(0)
        result = x["u"][0].flatten(1) - m @ (ws @ filtered(q, lattices[0]) + wb @ filtered(q, lattices[1]))
    torch.testing.assert_close(net(**x)["y"][0].flatten(1), result)


def test_gradients_of_the_blobs_accumulate(rng):
    """The fork overwrites them, so that with iter_size only the last sub-batch counts."""
    net = CaffeNet(parse_net(text()))
    x = draw(rng, dtype=torch.float32)
    net(**x)["y"].square().sum().backward()
    once = [blob.grad.clone() for blob in net.params["inference1"]]
    net(**x)["y"].square().sum().backward()
    for blob, before in zip(net.params["inference1"], once, strict=True):
        torch.testing.assert_close(blob.grad, 2 * before)


def test_fields_that_the_fork_reads_nowhere_change_nothing(rng):
    plain = CaffeNet(parse_net(text()))
    told = "num_iterations: 2 threshold: 9 compatibility_mode: POTTS forced_spatial_filter_weight: 4 "
    told += "forced_bilateral_filter_weight: 5 force_cpu: true"
    other = CaffeNet(parse_net(text(fields=told)))
    other.load_state_dict(plain.state_dict())
    x = draw(rng, dtype=torch.float32)
    assert torch.equal(plain(**x)["y"], other(**x)["y"])


def test_other_sizes_than_the_files_are_taken(rng):
    """The fork keeps the lattice of the size that it was set up with."""
    net = CaffeNet(parse_net(text()))
    u = torch.randn(2, 3, 7, 9, generator=rng)
    assert net(u=u, q=u, img=torch.randn(2, 3, 7, 9, generator=rng))["y"].shape == (2, 3, 7, 9)


def test_kernels_begin_with_the_numbers_of_the_strings():
    told = 'num_iterations: 2 spatial_filter_weights_str: "3 1 2 9" bilateral_filter_weights_str: "5 4 0.5"'
    spatial, bilateral, compatibility = CaffeNet(parse_net(text(fields=told))).params["inference1"]
    assert torch.equal(spatial[0, 0], torch.diag(torch.tensor([3.0, 1, 2])))
    assert torch.equal(bilateral[0, 0], torch.diag(torch.tensor([5, 4, 0.5])))
    assert torch.equal(compatibility[0, 0], -torch.eye(3))


def test_kernels_begin_with_the_filter_weights_or_the_files_beside_the_net(tmp_path):
    fields = "num_iterations: 2 spatial_filter_weight: 3 bilateral_filter_weight: 5"
    (tmp_path / "net.prototxt").write_text(text(fields=fields))
    spatial, bilateral, compatibility = load_caffe(tmp_path / "net.prototxt").params["inference1"]
    assert torch.equal(spatial[0, 0], 3 * torch.eye(3))
    assert torch.equal(bilateral[0, 0], 5 * torch.eye(3))
    assert torch.equal(compatibility[0, 0], -torch.eye(3))
    (tmp_path / "spatial.par").write_text("1 2 4 9\n")
    spatial = load_caffe(tmp_path / "net.prototxt").params["inference1"][0]
    assert torch.equal(spatial[0, 0], torch.diag(torch.tensor([1.0, 2, 4])))
    (tmp_path / "spatial.par").write_text("1 2\n")
    with pytest.raises(
        ValueError, match=r"layer 'inference1' \(MultiStageMeanfield\): .*spatial.par has 2 numbers for 3"
    ):
        load_caffe(tmp_path / "net.prototxt")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_as_on_the_cpu(rng):
    net = CaffeNet(parse_net(text(labels=21, batch=2, fields="num_iterations: 5")))
    x = draw(rng, 21, 2, torch.float32)
    x["u"].requires_grad_()
    wanted = net(**x)["y"]
    wanted.sum().backward()
    gradient, x["u"].grad = x["u"].grad, None
    got = net.cuda()(**{name: value.cuda() for name, value in x.items()})["y"]
    got.sum().backward()
    assert torch.allclose(got.cpu(), wanted, rtol=1e-3, atol=1e-4)
    assert torch.allclose(x["u"].grad, gradient, rtol=1e-3, atol=1e-4)
