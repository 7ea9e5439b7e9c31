"""`deeplab crf-search`: what it evaluates, what it writes, and that it goes on after a kill."""

import json
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from deeplab_repro.crf.model import CRFParams, DenseCRF
from deeplab_repro.evaluate.crf_search import Setting
from deeplab_repro.evaluate.metrics import ConfusionMatrix
from deeplab_repro.files.arrays import write_npy
from deeplab_repro.files.images import read_image, read_labels, write_image
from deeplab_repro.files.palette import save_label_png


@pytest.fixture
def folders(tmp_path):
    """Six images of coloured stripes, noisy logits and the truth, some of it void."""
    random = np.random.default_rng(2)
    for name in ("images", "scores", "truth"):
        (tmp_path / name).mkdir()
    for index in range(6):
        truth = np.tile((np.arange(28) + index) // 10 % 3, (20, 1))
        image = random.integers(-30, 30, (20, 28, 3)) + np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200]])[truth]
        logits = 2 * np.eye(3)[truth].transpose(2, 0, 1) + 1.5 * random.normal(size=(3, 20, 28))
        truth[:2] = 255
        write_image(image.clip(0, 255).astype(np.uint8), tmp_path / "images" / f"p{index}.png")
        write_npy(logits.astype(np.float32), tmp_path / "scores" / f"p{index}.npy")
        save_label_png(truth, tmp_path / "truth" / f"p{index}.png")
    inputs = [tmp_path / name for name in ("images", "scores", "truth")]
    grid = ("--bilateral-weight", "2,4", "--bilateral-xy-std", "4:4:8", "--bilateral-rgb-std", "20")
    words = ("crf-search", *inputs, "-o", tmp_path / "out", *grid, "--iterations", 2, "--device", "cpu")
    return SimpleNamespace(words=words, output=tmp_path / "out", inputs=inputs)


def _miou(folders, setting: Setting) -> float:
    confusion = ConfusionMatrix(3)
    params = CRFParams(
        iterations=2,
        bilateral_weight=setting.weight,
        bilateral_xy_std=setting.xy_std,
        bilateral_rgb_std=setting.rgb_std,
    )
    for index in range(6):
        image = torch.from_numpy(read_image(folders.inputs[0] / f"p{index}.png"))
        scores = torch.from_numpy(np.load(folders.inputs[1] / f"p{index}.npy"))
        truth = read_labels(folders.inputs[2] / f"p{index}.png")
        confusion.update(DenseCRF(params)(image, scores).argmax(0).numpy(), truth)
    return confusion.miou()


def test_every_setting_of_the_grid_is_scored_as_the_crf_scores_it(deeplab, folders):
    result = deeplab(*folders.words, "--rounds", 0, "--json", "-")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    answer = json.loads(result.stdout)
    scored = {Setting(row["weight"], row["xy_std"], row["rgb_std"]): row["miou"] for row in answer["settings"]}
    assert set(scored) == {Setting(w, xy, 20) for w in (2, 4) for xy in (4, 8)}
    for setting, miou in scored.items():
        assert miou == pytest.approx(_miou(folders, setting), abs=1e-12)
    assert answer["best"]["miou"] == max(scored.values()) > answer["without_crf"]["miou"]
    assert json.loads((folders.output / "search.json").read_text()) == answer
    assert read_image(folders.output / "heatmap.png").std() > 10
    assert {file.name for file in folders.output.iterdir()} == {"search.json", "heatmap.png", "state.json"}


def test_refinement_halves_the_steps_around_the_best(deeplab, folders):
    answer = json.loads(deeplab(*folders.words, "--rounds", 0, "--json", "-").stdout)
    best = answer["best"]
    refined = json.loads(deeplab(*folders.words, "--rounds", 1, "--json", "-").stdout)
    around = {
        Setting(best["weight"] + a, best["xy_std"] + b, best["rgb_std"] + c)
        for a in (-1, 0, 1) for b in (-2, 0, 2) for c in (-5, 0, 5)
    }  # fmt: skip
    settings = {Setting(row["weight"], row["xy_std"], row["rgb_std"]) for row in refined["settings"]}
    assert settings == around | {Setting(w, xy, 20) for w in (2, 4) for xy in (4, 8)}
    assert refined["best"]["miou"] >= best["miou"]


def test_processes_change_nothing(deeplab, folders):
    alone = json.loads(deeplab(*folders.words, "--json", "-").stdout)
    words = [*folders.words]
    words[words.index(folders.output)] = folders.output.with_name("out2")
    assert json.loads(deeplab(*words, "--jobs", 2, "--json", "-").stdout) == alone


def test_a_subset_of_the_images_is_drawn_by_the_seed(deeplab, folders):
    names = []
    for seed, folder in ((1, "a"), (1, "b"), (2, "c")):
        words = [*folders.words]
        words[words.index(folders.output)] = folders.output.with_name(folder)
        result = deeplab(*words, "--rounds", 0, "--images", 3, "--seed", seed, "--json", "-")
        names.append(json.loads(result.stdout)["search"]["images"])
    assert names[0] == names[1] != names[2]
    assert all(len(drawn) == 3 for drawn in names)


def test_a_killed_search_goes_on_where_it_stopped(deeplab, folders):
    want = json.loads(deeplab(*folders.words, "--json", "-").stdout)
    words = [str(word) for word in folders.words]
    output = folders.output.with_name("killed")
    words[words.index(str(folders.output))] = str(output)
    # A pause after each image leaves time for the kill.
    program = (
        "import sys, time; from deeplab_repro.evaluate import crf_search; from deeplab_repro.cli.app import main\n"
        "count = crf_search.count_image\n"
        "crf_search.count_image = lambda *a: (time.sleep(0.05), count(*a))[1]\n"
        "main()"
    )
    state = output / "state.json"
    kills = 0
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", program, *words], stdout=subprocess.DEVNULL)
        before = state.stat().st_mtime_ns if state.exists() else 0
        while kills < 2 and process.poll() is None:
            if state.exists() and state.stat().st_mtime_ns > before:
                process.kill()
                kills += 1
                break
            time.sleep(0.01)
        if process.wait() == 0:
            break
        assert not (output / "search.json").exists()
        json.loads(state.read_text())
    assert kills == 2
    assert json.loads((output / "search.json").read_text()) == want
    assert not list(output.glob(".*"))


def test_a_finished_search_repeats_its_answer_without_work(deeplab, folders, monkeypatch):
    first = deeplab(*folders.words, "--json", "-").stdout
    monkeypatch.setattr("deeplab_repro.evaluate.crf_search.count_image", None)
    assert deeplab(*folders.words, "--json", "-").stdout == first


def test_files_that_changed_under_their_names_are_refused(deeplab, refused, folders):
    assert deeplab(*folders.words, "--rounds", 0).exit_code == 0
    for folder, name in zip(folders.inputs, ("p0.png", "p0.npy", "p0.png"), strict=True):
        before = (folder / name).read_bytes()
        (folder / name).write_bytes(before + b"x")
        refused("of p0 changed since", *folders.words, "--rounds", 0)
        (folder / name).write_bytes(before)
    assert deeplab(*folders.words, "--rounds", 0).exit_code == 0


def test_bad_inputs_of_a_search(tmp_path, refused, deeplab, folders):
    refused("no such folder", *folders.words[:2], tmp_path / "none", *folders.words[3:])
    for text in ("x", "3:", "5:3", "0:5", "-1", "1:0:5", "1:2:3:4", "", "nan", "1:1e-9:2"):
        refused("must", *folders.words, "--bilateral-weight", text)
    assert deeplab(*folders.words, "--rounds", 0).exit_code == 0
    refused("params differ", *folders.words, "--gaussian-weight", 1)
    (folders.output / "state.json").write_text("{")
    refused("state.json", *folders.words)
    (folders.inputs[2] / "p3.png").unlink()
    refused("p3.png", *folders.words)
    save_label_png(np.full((20, 28), 7), folders.inputs[2] / "p3.png")
    (folders.output / "state.json").unlink()
    refused("truth holds 7", *folders.words)
    save_label_png(np.zeros((2, 2), int), folders.inputs[2] / "p3.png")
    refused("(20, 28)", *folders.words)


def test_the_table_shows_the_best_ten_and_the_network_alone(deeplab, folders):
    result = deeplab(*folders.words)
    assert result.exit_code == 0, result.output
    assert "settings on 6 images" in result.stdout
    lines = [line.split() for line in result.stdout.splitlines()]
    rows = [words for words in lines if words and (words[0] == "none" or words[0].replace(".", "").isdigit())]
    assert len(rows) == 11
    assert rows[-1][0] == "none"
    miou = [float(row[3]) for row in rows[:-1]]
    assert miou == sorted(miou, reverse=True)
    answer = json.loads((folders.output / "search.json").read_text())
    assert rows[0][:3] == [f"{answer['best'][name]:g}" for name in ("weight", "xy_std", "rgb_std")]
    assert rows[-1][1] == f"{100 * answer['without_crf']['miou']:.2f}"


def test_an_edge_of_the_grid_and_a_better_network_are_told(deeplab, folders):
    result = deeplab(*folders.words, "--rounds", 0)
    best = json.loads((folders.output / "search.json").read_text())["best"]
    at = {2: "lowest", 4: "highest"}[best["weight"]]
    assert f"note: the best weight, {best['weight']:g}, is the {at} that was tried" in result.stdout
    assert "rgb std" not in result.stdout.partition("note:")[2]  # of which there was one
    assert "no CRF was best" not in result.stdout
    for index in range(6):  # scores that are right
        truth = read_labels(folders.inputs[2] / f"p{index}.png")
        write_npy((9 * np.eye(3)[truth % 3]).transpose(2, 0, 1).astype(np.float32), folders.inputs[1] / f"p{index}.npy")
    words = [*folders.words]
    words[words.index(folders.output)] = folders.output.with_name("right")
    result = deeplab(*words, "--rounds", 0)
    assert "note: no CRF was best: 100.00 % without it" in result.stdout
