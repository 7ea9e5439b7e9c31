"""`deeplab crf`: formats in and out, and what it refuses."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from deeplab_repro.crf.model import CRFParams, DenseCRF
from deeplab_repro.files.arrays import read_bin, read_mat, write_bin, write_mat, write_npy


@pytest.fixture
def scores():
    return (3 * np.random.default_rng(7).normal(size=(4, 37, 50))).astype(np.float32)


def _refined(photo, scores, **params):
    return DenseCRF(CRFParams(**params))(torch.from_numpy(photo.pixels), torch.from_numpy(scores)).numpy()


def test_npy_scores_to_every_output(tmp_path, deeplab, photo, scores):
    write_npy(scores, tmp_path / "s.npy")
    outputs = [tmp_path / f"o.{suffix}" for suffix in ("png", "bin", "npy", "mat")]
    result = deeplab(
        "crf", photo.path, "--scores", tmp_path / "s.npy", *[word for output in outputs for word in ("-o", output)],
        "--iterations", 3, "--bilateral-xy-std", 20, "--bilateral-rgb-std", 30, "--normalization", "symmetric",
        "--gaussian-weight", 2, "--gaussian-xy-std", 1.5, "--bilateral-weight", 2.5, "--device", "cpu",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    expected = _refined(
        photo, scores, iterations=3, bilateral_xy_std=20, bilateral_rgb_std=30, normalization="symmetric",
        gaussian_weight=2, gaussian_xy_std=1.5, bilateral_weight=2.5,
    )  # fmt: skip
    np.testing.assert_array_equal(np.load(tmp_path / "o.npy"), expected)
    np.testing.assert_array_equal(read_mat(tmp_path / "o.mat"), expected)
    labels = expected.argmax(0)
    np.testing.assert_array_equal(read_bin(tmp_path / "o.bin")[0], labels)
    picture = Image.open(tmp_path / "o.png")
    assert picture.mode == "P"
    np.testing.assert_array_equal(np.asarray(picture), labels)


def test_mat_scores_are_cropped_to_the_image(tmp_path, deeplab, photo, scores):
    padded = np.pad(scores, ((0, 0), (0, 28), (0, 15)), constant_values=99)
    write_mat(padded, tmp_path / "s.mat")
    result = deeplab("crf", photo.path, "--scores", tmp_path / "s.mat", "-o", tmp_path / "o.npy", "--device", "cpu")
    assert result.exit_code == 0, result.output
    np.testing.assert_array_equal(np.load(tmp_path / "o.npy"), _refined(photo, scores))


def test_bin_scores_are_probabilities(tmp_path, deeplab, photo, scores):
    probabilities = np.exp(scores) / np.exp(scores).sum(0)
    write_bin(probabilities, tmp_path / "s.bin")
    result = deeplab("crf", photo.path, "--scores", tmp_path / "s.bin", "-o", tmp_path / "o.npy", "--device", "cpu")
    assert result.exit_code == 0, result.output
    np.testing.assert_allclose(np.load(tmp_path / "o.npy"), _refined(photo, np.log(probabilities)), atol=1e-6)


def test_scores_of_another_size_are_refused_with_both_sizes(tmp_path, refused, photo, scores):
    write_npy(scores[:, :30], tmp_path / "s.npy")
    refused("30 x 50", "crf", photo.path, "--scores", tmp_path / "s.npy", "-o", tmp_path / "o.png")
    refused("37 x 50", "crf", photo.path, "--scores", tmp_path / "s.npy", "-o", tmp_path / "o.png")
    assert not (tmp_path / "o.png").exists()


def test_bad_inputs_of_crf(tmp_path, refused, photo, scores):
    write_npy(scores, tmp_path / "s.npy")
    (tmp_path / "x.jpg").write_text("no image")
    (tmp_path / "bad.mat").write_text("no scores")
    good = ("crf", photo.path, "--scores", tmp_path / "s.npy", "-o", tmp_path / "o.png")
    refused("x.jpg", "crf", tmp_path / "x.jpg", *good[2:])
    refused("none.png", "crf", tmp_path / "none.png", *good[2:])
    refused("bad.mat", "crf", photo.path, "--scores", tmp_path / "bad.mat", *good[4:])
    refused("none.npy", "crf", photo.path, "--scores", tmp_path / "none.npy", *good[4:])
    refused("o.gif", *good[:4], "-o", tmp_path / "o.gif")
    refused("/proc/nope", *good[:4], "-o", "/proc/nope/o.png")
    refused("bilateral_xy_std", *good, "--bilateral-xy-std", 0)
    refused("--iterations", *good, "--iterations", -1)
    refused("--normalization", *good, "--normalization", "other")
    if not torch.cuda.is_available():
        refused("cuda", *good, "--device", "cuda")
    assert not (tmp_path / "o.png").exists()


def test_preset_fills_the_options_that_are_not_given(tmp_path, deeplab, photo, scores):
    write_npy(scores, tmp_path / "s.npy")
    result = deeplab("crf", photo.path, "--scores", tmp_path / "s.npy", "-o", tmp_path / "o.npy", "--device", "cpu",
                     "--preset", "v2_resnet101", "--iterations", 2)  # fmt: skip
    assert result.exit_code == 0, result.output
    expected = _refined(photo, scores, iterations=2, gaussian_xy_std=1, bilateral_xy_std=67, bilateral_rgb_std=3)
    np.testing.assert_array_equal(np.load(tmp_path / "o.npy"), expected)


def test_the_older_program_s_defaults_are_a_preset(tmp_path, deeplab, photo, scores):
    write_npy(scores, tmp_path / "s.npy")
    result = deeplab("crf", photo.path, "--scores", tmp_path / "s.npy", "-o", tmp_path / "o.npy", "--device", "cpu",
                     "--preset", "prog_refine_pascal", "--iterations", 2)  # fmt: skip
    assert result.exit_code == 0, result.output
    expected = _refined(photo, scores, iterations=2, bilateral_weight=10, bilateral_xy_std=60, bilateral_rgb_std=20,
                        gaussian_weight=3, gaussian_xy_std=3)  # fmt: skip
    np.testing.assert_array_equal(np.load(tmp_path / "o.npy"), expected)


def test_trace_shows_the_energy_of_each_iteration(tmp_path, deeplab, refused, photo, scores):
    write_npy(scores, tmp_path / "s.npy")
    words = ("crf", photo.path, "--scores", tmp_path / "s.npy", "-o", tmp_path / "o.npy", "--iterations", 3, "--trace")
    result = deeplab(*words, "--json", "-", "--device", "cpu")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert len(answer["free_energy"]) == 4
    assert len(answer["change"]) == 3
    assert answer["settings"]["iterations"] == 3
    np.testing.assert_allclose(np.load(tmp_path / "o.npy"), _refined(photo, scores, iterations=3), atol=1e-5)
    assert "free energy" in deeplab(*words, "--device", "cpu").stdout
    refused("--trace", *words, "--prune", 0.1)


def test_bad_choices_of_crf_name_the_known_ones(tmp_path, refused, photo, scores):
    write_npy(scores, tmp_path / "s.npy")
    good = ("crf", photo.path, "--scores", tmp_path / "s.npy", "-o", tmp_path / "o.png")
    refused("v2_resnet101", *good, "--preset", "v3")
    refused("lattice", *good, "--method", "magic")
    refused("prune", *good, "--prune", 2)


@pytest.mark.parametrize("magic", ["P6", "P3"])
def test_ppm_images_in_binary_and_text(tmp_path, deeplab, photo, scores, magic):
    height, width = photo.pixels.shape[:2]
    body = photo.pixels.tobytes() if magic == "P6" else " ".join(map(str, photo.pixels.ravel())).encode()
    (tmp_path / "i.ppm").write_bytes(f"{magic}\n# made by hand\n{width} {height}\n255\n".encode() + body)
    write_npy(scores, tmp_path / "s.npy")
    result = deeplab("crf", tmp_path / "i.ppm", "--scores", tmp_path / "s.npy", "-o", tmp_path / "o.npy",
                     "--device", "cpu")  # fmt: skip
    assert result.exit_code == 0, result.output
    np.testing.assert_array_equal(np.load(tmp_path / "o.npy"), _refined(photo, scores))


def test_what_was_written_is_said(tmp_path, photo, deeplab, refused, monkeypatch):
    np.save(tmp_path / "s.npy", np.random.default_rng(0).normal(size=(3, 37, 50)).astype(np.float32))
    files = [tmp_path / "o.png", tmp_path / "o.npy"]
    crf = ("crf", photo.path, "--scores", tmp_path / "s.npy", *(word for file in files for word in ("-o", file)))
    result = deeplab(*crf)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [f"{files[0]}: label map", f"{files[1]}: marginals [L, H, W]"]
    assert json.loads(deeplab(*crf, "--json", "-").stdout)["outputs"] == [str(file) for file in files]
    monkeypatch.setattr("deeplab_repro.jobs.devices.pick_device", None)
    refused("nope", *crf, "--preset", "nope")
