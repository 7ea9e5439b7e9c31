from __future__ import annotations

import math

import pytest
import torch

from deeplab_repro.layers.fillers import fill_
from prototxt_import import Filler


def filled(shape=(64, 32, 3, 3), seed=1, **filler) -> torch.Tensor:
    return fill_(torch.empty(shape), Filler(**filler), torch.Generator().manual_seed(seed))


def test_constant_uniform_gaussian():
    assert (filled(value=0.25) == 0.25).all()
    uniform = filled(type="uniform", min=-2.0, max=4.0)
    assert -2 <= uniform.min() < -1.9
    assert 3.9 < uniform.max() < 4
    gaussian = filled(type="gaussian", mean=3.0, std=0.5)
    assert float(gaussian.mean()) == pytest.approx(3, abs=0.02)
    assert float(gaussian.std()) == pytest.approx(0.5, rel=0.02)


def test_sparse_gaussian_keeps_that_many_inputs_of_each_output():
    blob = filled((100, 200), type="gaussian", sparse=15)
    assert float((blob != 0).float().mean()) == pytest.approx(0.15, abs=0.01)


@pytest.mark.parametrize(("rule", "fan"), [("FAN_IN", 288), ("FAN_OUT", 576), ("AVERAGE", 432)])
def test_xavier_and_msra_scale_with_the_fan(rule, fan):
    xavier = filled(type="xavier", variance_norm=rule)
    assert float(xavier.abs().max()) == pytest.approx(math.sqrt(3 / fan), rel=0.01)
    msra = filled(type="msra", variance_norm=rule)
    assert float(msra.std()) == pytest.approx(math.sqrt(2 / fan), rel=0.02)


def test_positive_unitball_rows_sum_to_one():
    blob = filled(type="positive_unitball")
    assert (blob >= 0).all()
    torch.testing.assert_close(blob.flatten(1).sum(1), torch.ones(64))


def test_bilinear_kernel_upsamples():
    blob = filled((2, 1, 4, 4), type="bilinear")
    tent = torch.tensor([0.25, 0.75, 0.75, 0.25])
    assert torch.equal(blob[1, 0], torch.outer(tent, tent))
    with pytest.raises(ValueError, match="square kernel"):
        filled((2, 1, 4, 3), type="bilinear")


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 16])
def test_bilinear_kernel_follows_its_formula(size):
    factor = math.ceil(size / 2)
    centre = (2 * factor - 1 - factor % 2) / (2 * factor)
    blob = filled((2, 3, size, size), type="bilinear")
    for y in range(size):
        for x in range(size):
            want = (1 - abs(x / factor - centre)) * (1 - abs(y / factor - centre))
            assert blob[:, :, y, x].unique().tolist() == [pytest.approx(want, abs=1e-6)]


def test_same_generator_same_numbers_and_unknown_type_is_named():
    assert torch.equal(filled(type="gaussian"), filled(type="gaussian"))
    with pytest.raises(ValueError, match="filler type 'magic' is unknown"):
        filled(type="magic")


def test_more_sparse_weights_than_outputs_are_refused():
    with pytest.raises(ValueError, match="filler: sparse is 15, more than the 10 outputs"):
        filled((10, 200), type="gaussian", sparse=15)
