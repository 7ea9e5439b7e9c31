"""DenseCRF against recordings of pydensecrf and of DeepLab's own program."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from deeplab_repro import CRFParams, DenseCRF, PermutohedralLattice
from tests.deeplab_repro.crf.noise_scene import scene
from tests.paths import GOLDEN, SHARED

COPIED = GOLDEN / "crf"
RECORDED = SHARED / "golden" / "crf"
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def cases(root: Path, kind: str) -> list[dict]:
    manifest = root / "manifest.json"
    return [c for c in json.loads(manifest.read_text())["cases"] if c["kind"] == kind] if manifest.exists() else []


def params(case: dict, kernels: str, normalization: str, iterations: int) -> CRFParams:
    p = case["params"]
    return CRFParams(
        iterations=iterations,
        normalization=normalization,
        gaussian_weight=0 if kernels == "bilateral_only" else p["pos_w"],
        gaussian_xy_std=p["pos_xy_std"],
        bilateral_weight=0 if kernels == "gaussian_only" else p["bi_w"],
        bilateral_xy_std=p["bi_xy_std"],
        bilateral_rgb_std=p["bi_rgb_std"],
    )


SMALL = [
    pytest.param(root, case, *run, id=f"{case['file']}-{'-'.join(map(str, run))}")
    for root in (COPIED, RECORDED)
    for case in cases(root, "meanfield_small")
    if root == COPIED or not (COPIED / case["file"]).exists()
    for run in case["runs"]
]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("root", "case", "kernels", "normalization", "iterations"), SMALL)
def test_marginals_reproduce_pydensecrf(root, case, kernels, normalization, iterations, device) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    data = np.load(root / case["file"])
    tag = f"{kernels}_{normalization}_it{iterations}"
    key = next((k for k in data.files if re.fullmatch(rf"Q_{tag}(_sub\d+)?", k)), None)
    if key is None:
        pytest.skip(f"{case['file']} records no {tag}")
    image = torch.tensor(data["image"], device=device)
    scores = torch.tensor(-data["unary"], device=device)
    q = DenseCRF(params(case, kernels, normalization, iterations))(image, scores).cpu().numpy()
    step = int(key.split("_sub")[1]) if "_sub" in key else 1
    difference = np.abs(q[:, ::step, ::step] - data[key])
    if normalization == "no":
        # Arguments of order 100s saturate the softmax: only labels compare.
        assert difference.mean() < 1e-3
    else:
        assert difference.mean() < 1e-5
    if f"label_{tag}" in data.files:
        assert (q.argmax(0) != data[f"label_{tag}"]).mean() <= (5e-3 if normalization == "no" else 2e-4)


def test_deeplab_program_is_normalization_after() -> None:
    case = cases(COPIED, "meanfield_small")[0]
    data = np.load(COPIED / case["file"])
    crf = DenseCRF(params(case, "both", "after", 10))
    q = crf(torch.tensor(data["image"]), torch.tensor(-data["unary"])).numpy()
    assert np.abs(q - data["Q_deeplab_it10"]).mean() < 1e-5


def test_pydensecrfs_default_gives_other_labels_than_deeplabs_program() -> None:
    case = cases(COPIED, "meanfield_small")[0]
    data = np.load(COPIED / case["file"])
    deeplab = data["Q_deeplab_it10"].argmax(0)
    for normalization, least, most in (("after", 0, 0), ("symmetric", 1e-3, 1e-2)):
        crf = DenseCRF(params(case, "both", normalization, 10))
        labels = crf(torch.tensor(data["image"]), torch.tensor(-data["unary"])).argmax(0).numpy()
        assert least <= (labels != deeplab).mean() <= most


@pytest.mark.skipif(not RECORDED.exists(), reason="needs ../shared/golden/crf")
@pytest.mark.parametrize("case", cases(RECORDED, "meanfield_exact_crop"), ids=lambda case: case["file"])
def test_exact_and_lattice_mean_field_as_recorded_on_crops(case) -> None:
    """The lattice's own error: mean 1e-4 to 3e-3, labels of 0.06 to 0.9 % of the pixels, without normalisation more."""
    data = np.load(RECORDED / case["file"])
    recorded = [key for key in data.files if re.fullmatch(r"Q_exact_(no|before|after|symmetric)_it10", key)]
    assert recorded
    image, scores = torch.tensor(data["image"]), torch.tensor(-data["unary"])
    for key in recorded:
        normalization = key.split("_")[2]
        p = params(case, "both", normalization, 10)
        exact = DenseCRF(p, method="exact")(image, scores.double()).numpy()
        assert np.abs(exact - data[key]).max() < (1e-2 if normalization == "no" else 1e-5)
        lattice = DenseCRF(p)(image, scores).numpy()
        assert np.abs(lattice - data[key.replace("exact", "lattice")]).mean() < 1e-5
        assert np.abs(lattice - exact).mean() < (3e-2 if normalization == "no" else 4e-3)
        assert (lattice.argmax(0) != exact.argmax(0)).mean() < (0.04 if normalization == "no" else 0.01)


@pytest.mark.skipif(not RECORDED.exists(), reason="needs ../shared/golden/crf")
@pytest.mark.parametrize("case", cases(RECORDED, "meanfield_exact_crop"), ids=lambda case: case["file"])
def test_raw_gain_of_both_kernels_as_recorded_on_crops(case) -> None:
    """In five dimensions the lattice gathers about half of the exact sum, at single pixels a seventh or nearly all."""
    data = np.load(RECORDED / case["file"])
    problem = DenseCRF(params(case, "both", "no", 1)).problem(torch.tensor(data["image"]), torch.tensor(-data["unary"]))
    for name, features in zip(("gaussian", "bilateral"), problem.features, strict=True):
        ones = PermutohedralLattice(features[0]).filter(torch.ones(features.shape[1], 1))[:, 0].numpy()
        np.testing.assert_allclose(ones, data[f"rowsum_lattice_{name}"], rtol=1e-4)
        gain = ones / data[f"rowsum_exact_{name}"]
        least, most = (0.75, 0.95) if name == "gaussian" else (0.1, 0.95)
        assert least < gain.min() <= gain.max() < most
        assert name == "gaussian" or 0.4 < gain.mean() < 0.6


@pytest.mark.skipif(not RECORDED.exists(), reason="needs ../shared/golden/crf")
@pytest.mark.parametrize("case", cases(RECORDED, "compatibility"), ids=lambda c: c["file"])
def test_diagonal_and_matrix_compatibility(case) -> None:
    data = np.load(RECORDED / case["file"])
    keys = [k for k in data.files if k.startswith("Q_")]
    assert keys
    for key in keys:
        _, form, normalization, iterations = key.split("_")
        p = CRFParams(
            iterations=int(iterations[2:]),
            normalization=normalization,
            gaussian_weight=1,
            gaussian_xy_std=case["params"]["pos_xy_std"],
            bilateral_weight=1,
            bilateral_xy_std=case["params"]["bi_xy_std"],
            bilateral_rgb_std=case["params"]["bi_rgb_std"],
            compatibility=torch.tensor(data[f"compat_{form}"]),
        )
        q = DenseCRF(p)(torch.tensor(data["image"]), torch.tensor(-data["unary"])).numpy()
        assert np.abs(q - data[key]).mean() < 1e-5, key


def test_batch_equals_each_image_alone() -> None:
    image, scores = scene()
    images, batch = torch.stack([image, image.flip(0)]), torch.stack([scores, scores.flip(2)])
    crf = DenseCRF(CRFParams(iterations=3))
    q = crf(images, batch)
    assert torch.equal(q[0], crf(images[0], batch[0]))
    assert torch.equal(q[1], crf(images[1], batch[1]))


def test_potts_equals_its_compatibility_matrix() -> None:
    image, scores = scene()
    potts = DenseCRF(CRFParams(iterations=4))(image, scores)
    for matrix in (-torch.eye(4), -torch.ones(4)):
        other = DenseCRF(CRFParams(iterations=4, compatibility=matrix))(image, scores)
        torch.testing.assert_close(other, potts)


def test_a_pixel_counts_as_its_own_neighbour() -> None:
    image, scores = torch.zeros(1, 1, 3, dtype=torch.uint8), torch.tensor([0.2, 0.7]).reshape(2, 1, 1)
    q = scores.softmax(0)
    for _ in range(2):
        q = (scores + 3 * q).softmax(0)
    for method in ("lattice", "exact"):
        crf = DenseCRF(CRFParams(2, gaussian_weight=3, bilateral_weight=0), method)
        torch.testing.assert_close(crf(image, scores), q)


def test_weight_zero_drops_a_kernel() -> None:
    image, scores = scene()
    plain = DenseCRF(CRFParams(gaussian_weight=0, bilateral_weight=0))(image, scores)
    torch.testing.assert_close(plain, torch.softmax(scores, 0))
    gaussian = DenseCRF(CRFParams(bilateral_weight=0, iterations=2))
    assert torch.equal(gaussian(image, scores), gaussian(image.flip(0), scores))


def test_adding_a_constant_to_a_pixels_scores_changes_nothing() -> None:
    image, scores = scene()
    crf = DenseCRF(CRFParams(iterations=3))
    shifted = scores.double() + torch.randn(17, 23, dtype=torch.float64)
    torch.testing.assert_close(crf(image, shifted), crf(image, scores.double()))


def test_floating_point_image_equals_the_integer_one() -> None:
    image, scores = scene()
    crf = DenseCRF(CRFParams(iterations=2))
    assert torch.equal(crf(image, scores), crf(image.float(), scores))


@pytest.mark.parametrize(
    ("image", "scores", "message"),
    [
        (torch.zeros(5, 6, 3), torch.zeros(2, 5, 7), r"image \[1, 5, 6, 3\] does not fit scores \[1, 2, 5, 7\]"),
        (torch.zeros(3, 5, 6), torch.zeros(2, 5, 6), "does not fit"),
        (torch.zeros(5, 6, 3), torch.zeros(1, 2, 5, 6), "image must be"),
        (torch.zeros(5, 6, 3), torch.zeros(2, 5, 6, dtype=torch.float16), "float32 or float64"),
    ],
)
def test_sizes_that_do_not_belong_together_are_named(image, scores, message) -> None:
    with pytest.raises(ValueError, match=message):
        DenseCRF()(image, scores)


def test_arrays_and_lists_are_taken_as_tensors_are() -> None:
    image = np.random.default_rng(2).integers(0, 256, (7, 9, 3), np.uint8)
    scores = np.random.default_rng(3).normal(size=(2, 7, 9)).astype(np.float32)
    crf = DenseCRF(CRFParams(compatibility=[[-1.0, 0.0], [0.0, -1.0]]))  # Potts
    torch.testing.assert_close(crf(image, scores), DenseCRF()(torch.from_numpy(image), torch.from_numpy(scores)))


def test_unknown_method_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="lattice"):
        DenseCRF(method="magic")
