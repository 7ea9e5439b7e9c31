"""`deeplab crf` on folders, and on the recorded inputs of the original program."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from deeplab_repro.crf.model import CRFParams, DenseCRF
from deeplab_repro.files.arrays import read_bin, write_bin, write_mat, write_npy
from deeplab_repro.files.images import write_image
from tests.paths import SHARED

RECORDED = SHARED / "golden" / "crf"


@pytest.fixture
def folders(tmp_path):
    """Four images, one of them without scores; scores in three formats, a padded .mat among them."""
    random = np.random.default_rng(4)
    images, scores = tmp_path / "images", tmp_path / "scores"
    images.mkdir()
    scores.mkdir()
    expected = {}
    for name in "abcd":
        pixels = random.integers(0, 256, (13, 17, 3), np.uint8)
        write_image(pixels, images / f"{name}.ppm")
        logits = (3 * random.normal(size=(4, 13, 17))).astype(np.float32)
        expected[name] = DenseCRF(CRFParams(iterations=2))(torch.from_numpy(pixels), torch.from_numpy(logits)).numpy()
        if name == "a":
            write_npy(logits, scores / "a.npy")
        elif name == "b":
            write_mat(np.pad(logits, ((0, 0), (0, 4), (0, 3))), scores / "b_blob_0.mat")
        elif name == "c":
            write_bin(np.exp(logits) / np.exp(logits).sum(0), scores / "c.bin")
    words = ("crf", images, "--scores", scores, "-o", tmp_path / "out", "--iterations", 2, "--device", "cpu")
    return SimpleNamespace(images=images, scores=scores, output=tmp_path / "out", expected=expected, words=words)


def _stamps(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mtime_ns for file in folder.iterdir() if "json" not in file.suffix}


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_score_file_is_refined_with_the_image_of_its_name(deeplab, folders, jobs):
    result = deeplab(*folders.words, "--formats", "png,bin,npy,mat", "--jobs", jobs)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"3 refined, 0 kept, in {folders.output}\n"
    assert result.stderr == ""
    assert {file.name for file in folders.output.iterdir()} == {
        "crf.json", "crf.jsonl", *(f"{name}{suffix}" for name in "abc" for suffix in (".png", ".bin", ".npy", ".mat"))
    }  # fmt: skip
    for name in "abc":
        np.testing.assert_allclose(np.load(folders.output / f"{name}.npy"), folders.expected[name], atol=2e-5)
        labels = folders.expected[name].argmax(0)
        np.testing.assert_array_equal(np.asarray(Image.open(folders.output / f"{name}.png")), labels)
        np.testing.assert_array_equal(read_bin(folders.output / f"{name}.bin")[0], labels)


def test_results_that_are_there_are_kept_unless_overwritten(deeplab, folders):
    assert deeplab(*folders.words).exit_code == 0
    first = _stamps(folders.output)
    (folders.output / "b.png").unlink()
    result = deeplab(*folders.words, "--json", "-")
    answer = json.loads(result.stdout)
    assert (answer["images"], answer["refined"], answer["kept"]) == (3, 1, 2)
    second = _stamps(folders.output)
    assert [name for name in first if first[name] != second[name]] == ["b.png"]
    assert deeplab(*folders.words, "--overwrite").exit_code == 0
    assert all(stamp > second[name] for name, stamp in _stamps(folders.output).items())


def test_results_of_files_that_changed_since_are_made_anew(deeplab, folders):
    """Each output by itself: one of another format may be newer."""
    assert deeplab(*folders.words).exit_code == 0
    write_npy(np.ones((4, 13, 17), np.float32), folders.scores / "a.npy")
    assert deeplab(*folders.words, "--formats", "bin").exit_code == 0
    with (folders.output / "crf.jsonl").open("a") as file:
        file.write('{"b.p')  # what a kill in the middle of a line leaves
    first = _stamps(folders.output)
    assert json.loads(deeplab(*folders.words, "--json", "-").stdout)["refined"] == 1
    assert json.loads(deeplab(*folders.words, "--json", "-").stdout)["refined"] == 0
    assert [name for name, stamp in _stamps(folders.output).items() if stamp != first[name]] == ["a.png"]
    assert not np.asarray(Image.open(folders.output / "a.png")).any()


def test_results_of_other_settings_are_not_mixed(deeplab, refused, folders):
    assert deeplab(*folders.words).exit_code == 0
    refused("gaussian_weight", *folders.words, "--gaussian-weight", 2)
    assert deeplab(*folders.words, "--gaussian-weight", 2, "--overwrite").exit_code == 0
    refused("gaussian_weight", *folders.words)


def test_a_bad_file_does_not_stop_the_others(deeplab, refused, folders):
    write_npy(np.zeros((4, 5, 6), np.float32), folders.scores / "a.npy")
    refused("1 of 3 images failed", *folders.words)
    assert {file.name for file in folders.output.iterdir()} == {"b.png", "c.png", "crf.json", "crf.jsonl"}
    assert "a.npy" in deeplab(*folders.words).stderr


def test_two_processes_share_the_files_out(deeplab, two_processes, folders):
    """The first tells of all, a file of the second that failed among them."""
    assert deeplab(*folders.words).exit_code == 0
    alone = {name: (folders.output / f"{name}.png").read_bytes() for name in "ac"}
    write_npy(np.zeros((4, 5, 6), np.float32), folders.scores / "d.npy")  # by names: a, c are of rank 0, b, d of rank 1
    (folders.scores / "b_blob_0.mat").write_bytes(b"no scores")
    for name in "ac":
        (folders.output / f"{name}.png").unlink()
    code, said = two_processes(*folders.words, "--json", folders.output / "answer.json")
    assert code != 0
    assert "deeplab crf: error: rank 0 of 2: 2 of 4 images failed" in said
    answer = json.loads((folders.output / "answer.json").read_text())
    assert (answer["images"], answer["refined"], answer["kept"]) == (4, 2, 0)
    assert [Path(name).name for name in answer["failed"]] == ["b_blob_0.mat", "d.npy"]
    assert {name: (folders.output / f"{name}.png").read_bytes() for name in "ac"} == alone
    notes = (folders.output / "crf.jsonl").read_text().split()
    assert sum('"a.png"' in line for line in notes) == 2


def test_folders_that_do_not_belong_together_are_refused(tmp_path, refused, folders):
    refused("must be a folder", *folders.words[:3], folders.scores / "a.npy", "-o", folders.output)
    refused("one folder", *folders.words, "-o", tmp_path / "other")
    refused("gif", *folders.words, "--formats", "png,gif")
    refused("--trace", *folders.words, "--trace")
    (tmp_path / "empty").mkdir()
    refused("no scores", *folders.words[:3], tmp_path / "empty", "-o", folders.output)
    write_npy(np.zeros((4, 5, 6), np.float32), folders.scores / "b.npy")
    refused("both stand for b", *folders.words)
    (folders.scores / "b.npy").rename(folders.scores / "z.npy")
    refused("z.npy", *folders.words)
    assert not folders.output.exists()


@pytest.mark.skipif(not RECORDED.exists(), reason="needs ../shared/golden/crf")
@pytest.mark.parametrize("file", sorted(RECORDED.glob("full_*.npz")), ids=lambda file: file.stem)
def test_recorded_inputs_give_the_label_map_of_the_original_program(tmp_path, deeplab, file):
    data = np.load(file)
    manifest = json.loads((RECORDED / "manifest.json").read_text())
    params = next(case["params"] for case in manifest["cases"] if case["file"] == file.name)
    height, width = data["image"].shape[:2]
    low = torch.from_numpy(data["logits_low"]).double()[None]
    logits = torch.nn.functional.interpolate(low, (height, width), mode="bilinear", align_corners=True)[0].float()
    # As the network leaves them: padded to its input's size.
    write_mat(np.pad(logits.numpy(), ((0, 0), (0, 513 - height), (0, 513 - width))), tmp_path / "i_blob_0.mat")
    write_image(data["image"], tmp_path / "i.ppm")
    result = deeplab(
        "crf", tmp_path / "i.ppm", "--scores", tmp_path / "i_blob_0.mat", "-o", tmp_path / "i.bin", "--device", "cpu",
        "--gaussian-weight", params["pos_w"], "--gaussian-xy-std", params["pos_xy_std"], "--bilateral-weight",
        params["bi_w"], "--bilateral-xy-std", params["bi_xy_std"], "--bilateral-rgb-std", params["bi_rgb_std"],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    labels = read_bin(tmp_path / "i.bin")[0]
    assert (labels != data["label_deeplab_program_it10"]).mean() <= 5e-5
    head = data["deeplab_program_bin_head"].tobytes()
    assert (tmp_path / "i.bin").read_bytes()[:12] == head[:12]
