"""Recipes against the released solver files' facts; each is also run as written, on a narrow net and two images."""

import shlex
import subprocess

import pytest

from deeplab_repro.export import net_arrays, write_forms
from deeplab_repro.models import fresh_net
from deeplab_repro.train import learning_rates
from deeplab_repro.train.recipes import phases, recipe_files
from prototxt_import import read_solver, write_weights

# name, phases as (net, list, first weights, updates)
PROTOCOLS = [
    ("deeplab_largefov", [("train", "train_aug", "init", 6000), ("train2", "trainval_aug", "train_iter_6000", 8000)]),
    ("deeplab", [("train", "train_aug", "init", 6000), ("train2", "trainval_aug", "train_iter_6000", 12000)]),
    (
        "deeplab_msc_largefov",
        [
            ("train", "train_aug", "init", 6000),
            ("msc_train", "train_aug", "train_iter_6000", 6000),
            ("msc_train2", "trainval_aug", "msc_train_iter_6000", 8000),
        ],
    ),
    (
        "deeplab_vgg16_aspp",
        [("train", "train_aug", "init", 20000), ("train2", "trainval_aug", "train_iter_20000", 20000)],
    ),
    (
        "deeplab_resnet101",
        [("train", "train_aug", "init", 20000), ("train2", "trainval_aug", "train_iter_20000", 20000)],
    ),
]


@pytest.mark.parametrize(("name", "protocol"), PROTOCOLS)
def test_phases_are_the_published_ones(name, protocol, tmp_path):
    nets, texts = recipe_files(name, "/data")
    write_forms(nets, tmp_path, texts=texts)
    found = []
    for step, (file, spec) in zip(phases(name), nets, strict=True):
        solver = read_solver(tmp_path / step.solver)
        assert (solver.train_net, solver.snapshot_prefix) == (file, step.name)
        data = spec.layers[0].options
        assert data.source == f"list/{step.images}.txt"
        assert step.weights in texts["run.sh"]
        found.append((step.name, step.images, step.weights.removesuffix(".caffemodel"), solver.max_iter))
    assert found == protocol


def test_solver_facts_of_the_papers(tmp_path):
    for name, batch, passes, rates in [
        ("deeplab_largefov", 30, 1, [1e-3, 1e-3, 1e-4]),
        ("deeplab_vgg16_aspp", 10, 1, [1e-3, 1e-3 * 0.9**0.9, 1e-3 * 0.8**0.9]),
        ("deeplab_resnet101", 1, 10, [2.5e-4, 2.5e-4 * 0.9**0.9, 2.5e-4 * 0.8**0.9]),
    ]:
        nets, texts = recipe_files(name, "/data")
        write_forms(nets, tmp_path / name, texts=texts)
        solver = read_solver(tmp_path / name / "solver.prototxt")
        assert (nets[0][1].layers[0].options.batch_size, solver.iter_size) == (batch, passes)
        assert (solver.momentum, solver.weight_decay) == (pytest.approx(0.9), pytest.approx(5e-4))
        at = [0, 1999 if name == "deeplab_largefov" else 2000, 2000 if name == "deeplab_largefov" else 4000]
        assert learning_rates(tmp_path / name / "solver.prototxt", 4001)[at].tolist() == pytest.approx(rates, rel=1e-6)


def test_msc_trains_the_new_layers_alone(tmp_path):
    nets = dict(recipe_files("deeplab_msc_largefov", "/data")[0])
    rates = {layer.name: layer.params[0].lr_mult for layer in nets["msc_train.prototxt"].layers if layer.params}
    assert rates["conv1_1"] == rates["fc6"] == 0
    assert min(rates["pool3_conv"], rates["data_ms"]) > 0


@pytest.mark.parametrize("name", ["deeplab_msc_largefov", "deeplab_resnet101"])
def test_recipe_runs_as_written(name, voc, deeplab, monkeypatch):
    folder = voc / "recipe"
    small = {"depths": (1, 1, 1, 1)} if name == "deeplab_resnet101" else {}
    nets, texts = recipe_files(name, size=(65, 65), batch=1, width=1 / 32, **small)
    # Two updates a phase, with the names that follow from that.
    for step in phases(name):
        solver = texts[step.solver]
        updates = step.last.removesuffix(".caffemodel").rpartition("_")[2]
        texts[step.solver] = solver.replace(f"max_iter: {updates}", "max_iter: 2")
        texts["run.sh"] = texts["run.sh"].replace(f"_iter_{updates}.", "_iter_2.")
    write_forms(nets, folder, texts=texts)
    first = nets[0][1]
    write_weights(net_arrays(fresh_net(first)), first, folder / "init.caffemodel")
    monkeypatch.chdir(folder)
    subprocess.run(["sh", "-n", "run.sh"], check=True)
    calls = [shlex.split(line) for line in (folder / "run.sh").read_text().splitlines() if line.startswith("deeplab")]
    assert [call[-1] for call in calls] == ["$@"] * len(phases(name))
    for call in calls * 2:  # the second time everything is done already
        assert call[-3:-1] == ["--var", "DATA_ROOT=${DATA_ROOT?is the folder of the data set}"]
        result = deeplab(*call[1:-2], f"DATA_ROOT={voc}", "--device", "cpu")
        assert result.exit_code == 0, result.output
    assert (folder / phases(name)[-1].last.replace(updates, "2")).is_file()
