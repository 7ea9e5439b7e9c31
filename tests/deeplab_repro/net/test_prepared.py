"""Prepared nets compute what the nets they come from do, with fewer layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deeplab_repro import CaffeNet, load_caffe, save_checkpoint
from deeplab_repro.net import prepared as prepare
from deeplab_repro.ops import _C
from deeplab_repro.zoo import models
from prototxt_import import Filler, layer, make_net
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


def error(ours: torch.Tensor, other: torch.Tensor) -> float:
    return ((ours - other).abs().max() / other.abs().max()).item()


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


def affine_net(pad: int = 0, group: int = 1):
    """Input, BatchNorm, Scale, convolution, BatchNorm, Scale, ReLU, Dropout, each top with a name of its own."""
    scale = {"filler": Filler("uniform", min=0.5, max=2), "bias_filler": Filler("uniform", min=-1, max=1)}
    window = {"kernel": (3, 3), "pad": (pad, pad), "group": group, "weight_filler": Filler("gaussian", std=0.2)}
    layers = [
        layer("BatchNorm", "bn1", "data", "bn1", use_global_stats=True),
        layer("Scale", "scale1", "bn1", "scale1", bias_term=True, **scale),
        layer("Convolution", "conv", "scale1", "conv", num_output=6, bias_term=False, **window),
        layer("BatchNorm", "bn2", "conv", "bn2", use_global_stats=True),
        layer("Scale", "scale2", "bn2", "scale2", bias_term=True, **scale),
        layer("ReLU", "relu", "scale2", "relu", negative_slope=0.1),
        layer("Dropout", "drop", "relu", "drop", ratio=0.5),
    ]
    torch.manual_seed(3)
    net = CaffeNet(make_net("affine", {"data": (2, 4, 9, 8)}, layers))
    for name in ("bn1", "bn2"):
        for blob, low in zip(net.params[name], (-1.0, 0.5, 0.5), strict=True):
            torch.nn.init.uniform_(blob, low, low + 1)
    return net


@pytest.mark.parametrize("group", [1, 2])
def test_batch_norm_and_scale_fold_into_the_convolution_on_either_side(group):
    net = affine_net(group=group)
    x = torch.randn(2, 4, 9, 8)
    ready = net.prepare(x)
    assert [name for name, _ in ready.layers.named_children()] == ["conv"]
    assert ready.folded == ("bn1", "scale1", "conv", "bn2", "scale2", "relu")
    assert error(ready(data=x)["drop"], net(data=x)["drop"]) < 2e-6


def test_padding_keeps_an_affine_layer_in_front_of_the_convolution():
    net = affine_net(pad=1)
    x = torch.randn(2, 4, 9, 8)
    ready = net.prepare(x)
    assert len(ready.layers) == 2
    assert error(ready(data=x)["drop"], net(data=x)["drop"]) < 2e-6


def test_normalisation_by_the_batch_itself_does_not_fold_into_what_follows():
    layers = [
        layer("BatchNorm", "bn", "data", "bn", use_global_stats=False),
        layer("Convolution", "conv", "bn", "conv", num_output=2, kernel=1, weight_filler=Filler("gaussian")),
    ]
    net = CaffeNet(make_net("n", {"data": (2, 3, 5, 5)}, layers))
    x = torch.randn(2, 3, 5, 5)
    want = net(data=x)["conv"]
    assert error(net.prepare(x)(data=x)["conv"], want) < 2e-6


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


def test_a_value_with_two_readers_stays():
    layers = [
        layer("Convolution", "conv", "data", "conv", num_output=3, kernel=(1, 1), weight_filler=Filler("gaussian")),
        layer("ReLU", "relu", "conv", "relu"),
        layer("Eltwise", "sum", ["conv", "relu"], "sum", operation="SUM"),
    ]
    net = CaffeNet(make_net("readers", {"data": (1, 2, 5, 5)}, layers))
    x = torch.randn(1, 2, 5, 5)
    ready = net.prepare({"data": x})
    assert ready.folded == ()
    assert error(ready(data=x)["sum"], net(data=x)["sum"]) < 1e-6


@pytest.mark.parametrize("precision", BOUNDS)
def test_parallel_convolutions_of_one_blob_join_their_sum(precision):
    def branch(name, kernel, rate, outputs=5):
        pads = tuple(rate * (k - 1) // 2 for k in kernel)
        options = {
            "kernel": kernel,
            "pad": pads,
            "dilation": (rate, rate),
            "weight_filler": Filler("gaussian", std=0.2),
        }
        return layer("Convolution", name, "data", name, num_output=outputs, bias_filler=Filler("gaussian"), **options)

    layers = [
        branch("a", (3, 3), 2),
        branch("b", (3, 1), 4),
        branch("c", (1, 1), 1),
        branch("d", (3, 3), 40),  # only its centre meets the map
        layer("Eltwise", "sum", ["a", "b", "c", "d"], "sum", operation="SUM"),
        layer("ReLU", "relu", "sum", "sum"),
    ]
    net = CaffeNet(make_net("heads", {"data": (2, 8, 9, 11)}, layers))
    x = torch.randn(2, 8, 9, 11)
    ready = net.prepare(x, precision)
    assert len(ready.layers) == 1
    assert len(ready.layers["sum"].offsets) == 9 + 2 + 8
    want = net(data=x)["sum"]
    for merged in (True, False):
        ready.layers["sum"].methods[x.shape] = merged
        assert error(ready(data=x)["sum"], want) < {"exact": 2e-6, "fast": 1e-5, "bf16": 0.05}[precision]
    # A coefficient or a second reader keeps them apart.
    assert len(net.prepare(x, blobs=["a"]).layers) == 5


@pytest.mark.parametrize("product", [True, False])
def test_sums_take_the_memory_of_their_terms_only_where_nobody_sees_it(product):
    def conv(name, bottom, kernel):
        window = {"kernel": (kernel, kernel), "pad": (kernel // 2, kernel // 2)}
        fillers = {"weight_filler": Filler("gaussian", std=0.3), "bias_filler": Filler("gaussian")}
        return layer("Convolution", name, bottom, name, num_output=4, **window, **fillers)

    layers = [
        conv("a", "data", 3),
        conv("b", "a", 3),
        layer("Eltwise", "sum", ["a", "b"], "sum", operation="SUM"),
        layer("ReLU", "relu", "sum", "sum"),
        conv("inner", "sum", 3),
        conv("last", "inner", 1),
        layer("Eltwise", "block", ["sum", "last"], "block", operation="SUM"),
        layer("Eltwise", "own", ["data", "block"], "own", operation="SUM"),
    ]
    net = CaffeNet(make_net("sums", {"data": (2, 4, 5, 7)}, layers))
    x = torch.randn(2, 4, 5, 7).contiguous(memory_format=torch.channels_last)
    before = x.clone()
    ready = net.prepare(x)
    assert ready.folded == ("last",)
    ready.layers["block"].methods[x.shape] = product
    for blobs in (None, "all", ["b", "own"], ["sum", "block"], ["sum", "inner"], ["a"]):
        got = ready(data=x, blobs=blobs)
        want = net(data=x, blobs=list(got))
        assert all(error(got[name], want[name]) < 2e-6 for name in want)
    assert torch.equal(x, before)


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
