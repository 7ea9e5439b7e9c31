"""Single layers against what the original Caffe forks computed, forward and backward (see tests/golden/layers)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from deeplab_repro import CaffeNet, load_caffe
from tests.paths import GOLDEN

LAYERS = GOLDEN / "layers"
CASES = sorted(path.parent for path in LAYERS.glob("*/*/data.npz"))
TRAINING = (
    "softmaxloss",
    "euclidean",
    "contrastive",
    "hinge",
    "infogain",
    "multinomial",
    "sigmoid_ce",
    "_train",
    "bn_in",
)
# Recorded tolerances: sums of powers in another order; a lattice in single precision.
LOOSE = {"densecrf_logscore": 1e-2, "densecrf_padded": 1e-3, "mvn": 1e-4, "lrn_within": 1e-4, "bn_batchstats": 1e-4}


def close(key: str, ours, golden: np.ndarray, rtol: float) -> None:
    a = np.asarray(ours, np.float64).reshape(golden.shape)
    assert np.array_equal(np.isnan(a), np.isnan(golden)), key
    worst, largest = np.nanmax(np.abs(a - golden), initial=0), np.nanmax(np.abs(golden), initial=0)
    assert worst <= 1e-5 + rtol * largest, f"{key}: {worst} of {largest}"


def grad(tensor: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad


def check_pass(net: CaffeNet, golden: dict[str, np.ndarray], inputs: dict[str, torch.Tensor], rtol: float) -> None:
    wanted = {key[5:] for key in golden if key.startswith("diff/")} & set(inputs)
    fed = {name: x.clone().requires_grad_(name in wanted) for name, x in inputs.items()}
    masks = {key[5:]: torch.from_numpy(value) for key, value in golden.items() if key.startswith("mask/")}
    blobs = net(**fed, blobs="all", masks=masks)
    for key, value in golden.items():
        if key.startswith("out/") and "_split_" not in key:
            close(key, blobs[key[4:]].detach(), value, rtol)
    if golden.get("loss", np.zeros(0)).size == 1:
        close("loss", 0.0 if blobs.loss is None else blobs.loss.item(), golden["loss"].reshape(()), rtol)
    tops = {key[8:]: value for key, value in golden.items() if key.startswith("topdiff/")}
    tops = {name: torch.from_numpy(value) for name, value in tops.items() if blobs[name].requires_grad}
    if tops:
        torch.autograd.backward([blobs[name] for name in tops], [g.reshape(blobs[n].shape) for n, g in tops.items()])
    elif blobs.loss is not None and blobs.loss.requires_grad:
        blobs.loss.backward()
    for key, value in golden.items():
        kind, _, name = key.partition("/")
        layer, _, i = name.rpartition("/")
        if kind == "diff" and name in fed and net.spec.layers[-1].type != "DenseCRF":
            close(key, grad(fed[name]), value, rtol)
        elif kind == "pdiff":
            close(key, grad(net.params[layer][int(i)]), value, rtol)
        elif kind == "param_after":
            close(key, net.params[layer][int(i)].detach(), value, rtol)


def check_passes(net: CaffeNet, golden: dict[str, np.ndarray], rtol: float) -> None:
    """Hold all passes of a recording; an input that a pass does not name keeps its value."""
    inputs: dict[str, torch.Tensor] = {}
    passes = sorted({key.split("/")[0] + "/" for key in golden if key.startswith("pass")}, key=lambda p: int(p[4:-1]))
    for prefix in passes or [""]:
        part = {key[len(prefix) :]: value for key, value in golden.items() if key.startswith(prefix)}
        inputs |= {key[3:]: torch.from_numpy(value) for key, value in part.items() if key.startswith("in/")}
        check_pass(net, part, inputs, rtol)
        net.zero_grad()


@pytest.mark.parametrize("folder", CASES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_layer_gives_the_recorded_blobs_and_gradients(folder: Path):
    golden = dict(np.load(folder / "data.npz"))
    weights = folder / "weights.caffemodel"
    phase = "TRAIN" if any(part in folder.name for part in TRAINING) else "TEST"
    net = load_caffe(folder / "net.prototxt", weights if weights.exists() else None, phase)
    rtol = next((value for name, value in LOOSE.items() if folder.name.startswith(name)), 1e-5)
    check_passes(net, golden, rtol)


def test_every_golden_layer_is_here():
    assert len(CASES) == 79
