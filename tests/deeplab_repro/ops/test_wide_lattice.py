"""The lattice of many features: the compiled one's tables where that goes, and a filter and mean field beyond it."""

import numpy as np
import pytest
import torch

from deeplab_repro import ops
from deeplab_repro.compat.pydensecrf import densecrf
from deeplab_repro.ops import wide_lattice


def _points(count, features, dtype=torch.float64, scale=2.0):
    return scale * torch.randn(count, features, dtype=dtype, generator=torch.Generator().manual_seed(features))


@pytest.mark.parametrize("features", [1, 2, 5, 64])
def test_its_tables_are_the_compiled_ones(features):
    points = _points(40, features)
    points[7] = points[3]
    compiled, own = ops.lattice_build(points), ops.Lattice(*wide_lattice.build(points))
    for name in ("vertices", "neighbors", "entries", "offsets", "count"):
        assert torch.equal(getattr(own, name), getattr(compiled, name)), name
    torch.testing.assert_close(own.weights, compiled.weights)


def test_filtered_ones_are_positive_and_marginals_sum_to_one():
    unary = torch.rand(1, 3, 60, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    points = _points(60, 100, scale=0.1)
    q = ops.meanfield(unary, [points[None]], [3.0], iterations=3)
    torch.testing.assert_close(q.sum(1), torch.ones(1, 60, dtype=torch.float64))
    assert not torch.allclose(q, torch.softmax(-unary, 1))
    ones = ops.lattice_filter(torch.ones(60, 1, dtype=torch.float64), ops.lattice_build(points))
    assert bool((ones > 0).all())


def test_pydensecrf_takes_any_number_of_columns():
    crf = densecrf.DenseCRF(30, 2)
    crf.setUnaryEnergy(np.random.rand(2, 30).astype(np.float32))
    crf.addPairwiseEnergy(np.random.rand(65, 30).astype(np.float32), 3)
    np.testing.assert_allclose(crf.inference(2).sum(0), 1, atol=1e-5)


def test_features_that_do_not_fit_are_refused():
    for value in (float("nan"), float("inf"), 1e12):
        with pytest.raises(RuntimeError, match=r"lattice_build: features must be finite"):
            ops.lattice_build(torch.full((2, 70), value))
