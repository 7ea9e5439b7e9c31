"""Published parameters by name, against the table they were taken from."""

import csv

import pytest

from deeplab_repro import CRFParams
from deeplab_repro.crf.presets import PRESETS
from tests.paths import SHARED

TABLE = SHARED / "reference" / "crf_params.csv"
FACTS = SHARED / "golden" / "crf" / "SEMANTICS.md"


@pytest.mark.skipif(not TABLE.exists(), reason="needs ../shared/reference/crf_params.csv")
def test_presets_are_the_published_rows() -> None:
    with TABLE.open(newline="") as file:
        rows = {
            row["model"]: tuple(
                float(row[key]) for key in ("bi_w", "bi_xy_std", "bi_rgb_std", "pos_w", "pos_xy_std", "iters")
            )
            for row in csv.DictReader(file)
        }
    # The older program's defaults stand among the facts of the CRF instead.
    published = {model: tuple(map(float, values)) for model, *values in PRESETS.values()}
    assert published.pop("prog_refine_pascal built-in default") == (10, 60, 20, 3, 3, 10)
    assert published == rows


@pytest.mark.skipif(not FACTS.exists(), reason="needs ../shared/golden/crf/SEMANTICS.md")
@pytest.mark.parametrize("program", ["prog_refine_pascal", "prog_refine_pascal_v4"])
def test_the_programs_defaults_are_those_of_the_facts(program: str) -> None:
    row = next(line for line in FACTS.read_text().splitlines() if line.startswith(f"| {program} built-in"))
    gaussian_weight, gaussian_xy, weight, xy, rgb = (float(cell) for cell in row.split("|")[2:7])
    preset = CRFParams.preset(program)
    assert (preset.gaussian_weight, preset.gaussian_xy_std) == (gaussian_weight, gaussian_xy)
    assert (preset.bilateral_weight, preset.bilateral_xy_std, preset.bilateral_rgb_std) == (weight, xy, rgb)
    assert preset.iterations == 10


@pytest.mark.parametrize(
    ("name", "gaussian", "bilateral"),
    [
        ("prog_refine_pascal_v4", (3, 3), (5, 70, 5)),
        ("v1_deeplab", (3, 3), (5, 50, 10)),
        ("v1_msc", (3, 3), (3, 95, 3)),
        ("v1_coco", (3, 3), (5, 67, 3)),
        ("v1_largefov", (3, 3), (4, 121, 5)),
        ("run_densecrf", (3, 3), (4, 49, 5)),
        ("v2_vgg16", (2, 2), (4, 65, 3)),
        ("v2_resnet101", (3, 1), (4, 67, 3)),
    ],
)
def test_numbers_of_the_originals(name, gaussian, bilateral) -> None:
    """Weight and deviation over positions; weight, deviation over positions and over colours; ten iterations."""
    params = CRFParams.preset(name)
    assert (params.gaussian_weight, params.gaussian_xy_std) == gaussian
    assert (params.bilateral_weight, params.bilateral_xy_std, params.bilateral_rgb_std) == bilateral
    assert params.iterations == 10


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
