"""Recorded layers of sibling forks: those that lie in tests/golden, the others where the shared recordings are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from deeplab_repro import load_caffe
from tests.deeplab_repro.layers.test_golden import check_passes
from tests.paths import GOLDEN, SHARED

NEEDS_DIALECT = ("sigmoid_ce", "accuracy")
TRAIN = ("_train", "bn_learn", "softmaxloss", "sigmoid_ce", "infogain", "pyramid")
# As recorded: a lattice in single precision, sums in another order.
LOOSE = {"msmf": 1e-3, "fcn_crop_msmf": 1e-3, "mini_train": 2e-4, "bn_learn": 1e-4, "bn_train": 1e-4, "crop": 1e-4}


def folder_of(family: str, name: str) -> Path:
    """The folder of a recorded case; skips the test where it is not at hand."""
    for root in (GOLDEN / "siblings", SHARED / "golden" / "siblings" / "layers"):
        if (root / family / name / "data.npz").exists():
            return root / family / name
    pytest.skip(f"needs ../shared/golden/siblings/layers/{family}/{name}")


def phase_of(name: str) -> str:
    """The phase in which a case was recorded."""
    return "TRAIN" if any(part in name for part in TRAIN) and not name.endswith("_in_test") else "TEST"


def check_recorded(family: str, name: str) -> None:
    """Hold every recorded blob, the loss, and all recorded gradients of a case against ours."""
    folder = folder_of(family, name)
    weights = folder / "weights.caffemodel"
    dialect = family if name.startswith(NEEDS_DIALECT) else "auto"
    stored = weights if weights.exists() else None
    net = load_caffe(folder / "net.prototxt", stored, phase_of(name), dialect=dialect)
    golden = dict(np.load(folder / "data.npz"))
    rtol = next((value for start, value in LOOSE.items() if name.startswith(start)), 1e-5)
    check_passes(net, golden, rtol)


def all_recorded() -> list[str]:
    """Every case of the shared recordings; empty where they are not at hand."""
    manifest = SHARED / "golden" / "siblings" / "manifest.json"
    return [case["name"] for case in json.loads(manifest.read_text())["cases"]] if manifest.exists() else []
