"""CRF-RNN: recorded passes, gradients, and how the kernels begin."""

from __future__ import annotations

import pytest
import torch

from deeplab_repro import CaffeNet, load_caffe
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
    assert torch.autograd.gradcheck(run, [one.clone().requires_grad_() for one in start])


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
