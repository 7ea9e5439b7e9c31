"""The CPU's kernels on every instruction set: what is recorded holds on each, and lattices are the same to the bit."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.paths import ROOT

# A processor that lacks one takes the best it has.
SETS = ("plain", "avx2", "avx512")
RECORDED = (
    "tests/deeplab_repro/crf/test_model.py::test_marginals_reproduce_pydensecrf",
    "tests/deeplab_repro/crf/test_model.py::test_diagonal_and_matrix_compatibility",
    "tests/deeplab_repro/ops/test_lattice.py::test_filter_reproduces_the_recorded_library",
)
PROGRAM = """
import sys, numpy as np, torch
from deeplab_repro import CRFParams, DenseCRF, ops
from deeplab_repro.crf.features import bilateral_features
g = torch.Generator().manual_seed(3)
image = torch.randint(0, 256, (37, 53, 3), dtype=torch.uint8, generator=g)
scores = 3 * torch.randn(21, 37, 53, generator=g)
lattice = ops.lattice_build(bilateral_features(image[None].float(), 9, 20)[0])
tables = {name: table.numpy() for name, table in lattice._asdict().items()}
crf = DenseCRF(CRFParams(bilateral_xy_std=9, bilateral_rgb_std=20))
np.savez(sys.argv[1], marginals=crf(image, scores).numpy(), **tables)
"""


def run(capability: str, *command: str) -> None:
    environment = {**os.environ, "DEEPLAB_CPU_CAPABILITY": capability, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.mark.parametrize("capability", SETS[:2])
def test_recordings_hold_on_lower_sets_too(capability: str) -> None:
    run(capability, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *RECORDED)


def test_lattices_are_equal_to_the_bit_and_marginals_but_for_fused_multiply_adds(tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.npz" for name in SETS}
    for name, file in files.items():
        run(name, "-c", PROGRAM, str(file))
    plain, avx2, avx512 = (np.load(file) for file in files.values())
    for table in set(plain.files) - {"marginals"}:
        np.testing.assert_array_equal(plain[table], avx2[table], err_msg=table)
        np.testing.assert_array_equal(plain[table], avx512[table], err_msg=table)
    # Ten iterations carry a rounding of 6e-8 a long way; the mean field of these scores is stable.
    np.testing.assert_allclose(plain["marginals"], avx512["marginals"], rtol=0, atol=2e-5)
    np.testing.assert_allclose(avx2["marginals"], avx512["marginals"], rtol=0, atol=2e-5)
