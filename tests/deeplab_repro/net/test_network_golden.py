"""Whole nets against blobs, losses and gradients recorded from the original Caffe forks (see tests/golden/nets)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from deeplab_repro import load_caffe
from tests.paths import GOLDEN, SHARED

COPIED = GOLDEN / "nets"
SHARED_NETS = SHARED / "golden" / "caffe" / "nets"
LARGE = (
    "v1_noup_test_514",
    "v1_noup_train_306",
    "v2_msc_largefov",
    "v2_msc_largefov_released",
    "v2_res101_aspp",
    "v2_res101_msc",
)


def records(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/in_*.npz"))


def cases() -> list:
    params = [pytest.param(path, id=f"{path.parent.name}-{path.stem}") for path in records(COPIED)]
    for name in LARGE:
        reason = f"recorded net {name} is not beside this repository (../shared/golden/caffe/nets)"
        paths = sorted((SHARED_NETS / name).glob("in_*.npz")) or [SHARED_NETS / name / "in.npz"]
        marks = pytest.mark.skipif(not (SHARED_NETS / name).is_dir(), reason=reason)
        params += [pytest.param(path, id=f"{name}-{path.stem}", marks=marks) for path in paths]
    return params


def close(name: str, ours: torch.Tensor, golden: np.ndarray, rtol: float) -> None:
    a, b = ours.detach().numpy().astype(np.float64).ravel(), golden.astype(np.float64).ravel()
    assert a.size == b.size, name
    worst = np.abs(a - b).max(initial=0)
    assert worst <= 1e-6 + rtol * np.abs(b).max(initial=0), f"{name}: {worst} of {np.abs(b).max(initial=0)}"


def test_every_golden_net_is_here():
    assert len(records(COPIED)) == 9


@pytest.mark.parametrize("path", cases())
def test_net_gives_the_recorded_blobs_loss_and_gradients(path: Path):
    golden = np.load(path)
    train = "train" in path.parent.name
    # A ReLU or pooling choice at a near tie moves single-precision gradients, the more the larger the map.
    rtol = 1e-3 if path.stem == "in_306x306" else 1e-4 if train else 5e-5
    net = load_caffe(path.with_name("net.prototxt"), path.with_name("weights.caffemodel"), "TRAIN" if train else "TEST")
    inputs = {key[3:]: torch.from_numpy(golden[key]) for key in golden.files if key.startswith("in/")}
    for key in (key for key in golden.files if key.startswith("in_u8/")):
        image = golden[key] - golden["mean"].astype(np.float64).reshape(1, -1, 1, 1)
        inputs[key[6:]] = torch.from_numpy(image.astype(np.float32))
    masks = {key[5:]: torch.from_numpy(golden[key]) for key in golden.files if key.startswith("mask/")}
    blobs = net(**inputs, blobs="all", masks=masks)
    for key in golden.files:
        kind, _, name = key.partition("/")
        if kind == "out":
            close(key, blobs[name], golden[key], rtol)
        elif kind == "sample":
            close(key, blobs[name].flatten()[golden[f"idx/{name}"]], golden[key], rtol)
    if "loss" not in golden.files:
        assert blobs.loss is None
        return
    assert blobs.loss.item() == pytest.approx(float(golden["loss"]), rel=1e-5)
    blobs.loss.backward()
    for key in (key for key in golden.files if key.startswith("pdiff/")):
        layer, i = key[6:].rsplit("/", 1)
        close(key, net.params[layer][int(i)].grad, golden[key], rtol)
