"""Prepared nets compute what the nets they come from do, with fewer layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deeplab_repro import load_caffe, save_checkpoint
from deeplab_repro.net import prepared as prepare
from deeplab_repro.ops import _C
from deeplab_repro.zoo import models
from tests.deeplab_repro.net.small_net import affine_net, error
from tests.paths import GOLDEN, SHARED

NETS = GOLDEN / "nets"
SHARED_NETS = SHARED / "golden" / "caffe" / "nets"
# Of the largest value of each blob; bfloat16 keeps eight bits, and errors add up over layers.
BOUNDS = {"exact": 2e-5, "fast": 1e-3, "bf16": 0.1}
# Classifiers of one blob and ends of residual branches, of which only the sums are left.
BRANCHES = {"v2_res101_aspp": 4 + 33, "v2_res101_msc": 3 * (4 + 33)}
RECORDED = [
    "v2_largefov",
    "v2_aspp_l",
    "v2_res101_aspp",
    "v2_res101_msc",
    "v2_msc_largefov_released",
    "v1_msc_largefov_released",
    "v1_noup_test",
]


def golden(name: str):
    """A golden net and the inputs that were recorded with it."""
    folder = next((root / name for root in (NETS, SHARED_NETS) if (root / name / "net.prototxt").is_file()), None)
    if folder is None:
        pytest.skip(f"needs ../shared/golden/caffe/nets/{name}")
    net = load_caffe(folder / "net.prototxt", folder / "weights.caffemodel")
    inputs = []
    for path in sorted(folder.glob("in_*.npz")):
        arrays = np.load(path)
        inputs.append({name: torch.from_numpy(arrays[f"in/{name}"]) for name in net.inputs})
    return net, inputs


@pytest.mark.parametrize("precision", BOUNDS)
@pytest.mark.parametrize("name", RECORDED)
def test_golden_nets_keep_their_blobs(name, precision):
    net, inputs = golden(name)
    ready = net.prepare(inputs[0], precision)
    assert len(ready.layers) < 0.65 * len(net.layers)
    for given in inputs:
        want, got = net(**given, blobs="all"), ready(**given, blobs="all")
        assert set(got) == set(want) - set(ready.folded)
        assert len(ready.folded) == BRANCHES.get(name, 0)
        for blob, value in got.items():
            assert value.dtype == want[blob].dtype
            assert value.is_contiguous()
            if not (precision == "bf16" and blob == "pred"):  # classes flip where scores nearly tie
                assert error(value, want[blob]) <= BOUNDS[precision], blob
        assert set(ready(**given)) == set(net.spec.outputs)


def test_bfloat16_maps_where_the_processor_multiplies_them(monkeypatch):
    net, (inputs, *_) = golden("v2_res101_aspp")
    want = net(**inputs, blobs="all")
    in_float = net.prepare(inputs, "bf16")
    monkeypatch.setattr(prepare, "low_type", lambda parameter: torch.bfloat16)
    ready = net.prepare(inputs, "bf16")
    assert next(ready.parameters()).dtype == torch.bfloat16
    for blob, value in ready(**inputs, blobs="all").items():
        assert value.dtype == want[blob].dtype
        assert blob == "pred" or error(value, want[blob]) <= BOUNDS["bf16"], blob
    if not _C.has_bfloat16():
        assert next(in_float.parameters()).dtype == torch.float32


def test_a_folded_blob_is_refused_by_name_and_can_be_kept():
    net = affine_net()
    x = torch.randn(2, 4, 9, 8)
    with pytest.raises(ValueError, match=r"blob 'bn2' was folded away; keep it with prepare"):
        net.prepare(x)(data=x, blobs=["bn2"])
    ready = net.prepare(x, blobs=["bn2"])
    assert error(ready(data=x, blobs=["bn2"])["bn2"], net(data=x, blobs=["bn2"])["bn2"]) < 2e-6
    assert error(ready(data=x)["drop"], net(data=x)["drop"]) < 2e-6
    with pytest.raises(ValueError, match="the net has no blob 'bn3'; did you mean"):
        net.prepare(x, blobs=["bn3"])


def test_scales_that_share_weights_share_the_folded_ones():
    net = models.deeplab_resnet101(width=1 / 32, depths=(1, 1, 1, 1), size=(65, 65))
    ready = net.prepare(torch.zeros(1, 3, 65, 65))
    modules = [ready.layers[f"res2a_branch2b{suffix}"].weights for suffix in ("", "_res075", "_res05")]
    assert modules[0] is modules[1] is modules[2]


def test_other_sizes_work_and_misfits_are_told():
    net = models.deeplab_resnet101(width=1 / 32, depths=(1, 1, 1, 1), size=(65, 65))
    ready = net.prepare(torch.zeros(1, 3, 65, 65))
    x = torch.randn(2, 3, 97, 65)
    assert error(ready(data=x)["fc1_interp"], net(data=x)["fc1_interp"]) < BOUNDS["exact"]
    with pytest.raises(ValueError, match="fc_fusion"):
        ready(data=torch.zeros(1, 3, 73, 73))


def test_the_original_is_left_alone_and_later_changes_do_not_reach_the_copy(toy):
    net = load_caffe(toy.prototxt, toy.caffemodel)
    x = torch.randn(1, 3, 33, 33)
    before = net(data=x)["fc_interp"]
    ready = net.prepare(x)
    with torch.no_grad():
        for blob in net.parameters():
            blob.zero_()
    assert error(ready(data=x)["fc_interp"], before.detach()) < 2e-6
    assert not net(data=x)["fc_interp"].any()
    assert not ready(data=x)["fc_interp"].requires_grad
    assert all(blob.requires_grad for blob in net.parameters())


def test_double_precision_stays_double(toy):
    net = load_caffe(toy.prototxt, toy.caffemodel).double()
    x = torch.randn(1, 3, 33, 33, dtype=torch.float64)
    got = net.prepare(x)(data=x)["fc_interp"]
    assert got.dtype == torch.float64
    assert error(got, net(data=x)["fc_interp"]) < 1e-14


def test_a_prepared_net_is_not_mistaken_for_its_original(toy, tmp_path):
    net = load_caffe(toy.prototxt, toy.caffemodel)
    ready = net.prepare(torch.zeros(1, 3, 33, 33))
    with pytest.raises(ValueError, match="folded and packed"):
        save_checkpoint(ready, tmp_path / "no.safetensors")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="prepared already"):
        ready.prepare(torch.zeros(1, 3, 33, 33))
    assert "prepared exact" in repr(ready)


def test_bad_arguments(toy):
    net = load_caffe(toy.prototxt, toy.caffemodel)
    x = torch.zeros(1, 3, 33, 33)
    with pytest.raises(ValueError, match="precision must be one of exact, fast, bf16, got 'int8'"):
        net.prepare(x, "int8")
    with pytest.raises(ValueError, match="only nets of phase TEST"):
        load_caffe(toy.prototxt, toy.caffemodel, phase="TRAIN").prepare(x)
    with pytest.raises(ValueError, match="the net has no input 'image'"):
        net.prepare({"data": x, "image": x})
    with pytest.raises(ValueError, match="the net has no input 'date'; did you mean 'data'"):
        net.prepare(x)(date=x)
