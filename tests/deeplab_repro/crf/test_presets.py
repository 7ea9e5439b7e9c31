"""Published parameters by name, against the table they were taken from."""

import csv

import pytest

from deeplab_repro import CRFParams
from deeplab_repro.crf.presets import PRESETS
from tests.paths import SHARED

TABLE = SHARED / "reference" / "crf_params.csv"


@pytest.mark.skipif(not TABLE.exists(), reason="needs ../shared/reference/crf_params.csv")
def test_presets_are_the_published_rows() -> None:
    with TABLE.open(newline="") as file:
        rows = {
            row["model"]: tuple(
                float(row[key]) for key in ("bi_w", "bi_xy_std", "bi_rgb_std", "pos_w", "pos_xy_std", "iters")
            )
            for row in csv.DictReader(file)
        }
    assert {model: tuple(map(float, values)) for model, *values in PRESETS.values()} == rows


def test_preset_fills_every_parameter() -> None:
    params = CRFParams.preset("v2_resnet101")
    assert (params.bilateral_weight, params.bilateral_xy_std, params.bilateral_rgb_std) == (4, 67, 3)
    assert (params.gaussian_weight, params.gaussian_xy_std, params.iterations) == (3, 1, 10)
    assert params.normalization == "after"


def test_every_name_gives_parameters() -> None:
    assert set(CRFParams.preset_names()) == set(PRESETS)
    for name in CRFParams.preset_names():
        assert isinstance(CRFParams.preset(name), CRFParams)


def test_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown preset 'v3'; known: v1_deeplab, "):
        CRFParams.preset("v3")
