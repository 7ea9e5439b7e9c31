"""Recipes against the released solver files' facts; each is also run as written, on a narrow net and two images."""

import json
import subprocess
import sys

import pytest

from deeplab_repro.export.caffe import net_arrays, write_forms
from deeplab_repro.train import learning_rates
from deeplab_repro.zoo.models import fresh_net
from deeplab_repro.zoo.recipes import phases, recipe_files
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
    steps = []
    for step, (file, spec) in zip(phases(name), nets, strict=True):
        solver = read_solver(tmp_path / step.solver)
        assert (solver.train_net, solver.snapshot_prefix) == (file, step.name)
        data = spec.layers[0].options
        assert data.source == f"list/{step.images}.txt"
        steps.append((step.name, step.images, step.weights.removesuffix(".caffemodel"), solver.max_iter))
    assert steps == protocol


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


# In place of deeplab: writes down what it was called with, and a model as after two updates.
STAND_IN = """\
import json, pathlib, sys
with open("calls.jsonl", "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
prefix = pathlib.Path(sys.argv[sys.argv.index("--log") + 1]).stem
pathlib.Path(f"{prefix}_iter_2.caffemodel").touch()
"""


@pytest.fixture
def scripted(tmp_path):
    """scripted(folder, *options): the calls of deeplab that folder/run.sh makes, with files of two updates."""
    (tmp_path / "stand_in.py").write_text(STAND_IN)

    def run(folder, *options, data="/data"):
        environment = {"PATH": "/usr/bin:/bin", "DEEPLAB": f"{sys.executable} {tmp_path / 'stand_in.py'}"}
        environment |= {"DATA_ROOT": str(data)}
        subprocess.run(["sh", folder / "run.sh", *options], cwd=tmp_path, env=environment, check=True)
        return [json.loads(line) for line in (folder / "calls.jsonl").read_text().splitlines()]

    return run


def test_a_phase_starts_from_the_newest_model_of_the_one_before(scripted, tmp_path):
    nets, texts = recipe_files("deeplab_msc_largefov")
    write_forms(nets, tmp_path / "recipe", texts=texts)
    for iteration in (1000, 6000):
        (tmp_path / "recipe" / f"msc_train_iter_{iteration}.caffemodel").touch()
    calls = scripted(tmp_path / "recipe", "--max-iter", "2")
    assert [call[call.index("--weights") + 1] for call in calls] == [
        "init.caffemodel",
        "train_iter_2.caffemodel",
        "msc_train_iter_6000.caffemodel",
    ]
    assert all(call[-4:] == ["--var", "DATA_ROOT=/data", "--max-iter", "2"] for call in calls)


def test_a_phase_that_left_no_model_ends_the_script(tmp_path):
    nets, texts = recipe_files("deeplab_largefov", "/data")
    write_forms(nets, tmp_path, texts=texts)
    done = subprocess.run(["sh", tmp_path / "run.sh"], env={"PATH": "/usr/bin:/bin", "DEEPLAB": "true"}, stderr=-1)
    assert done.returncode == 1
    assert b"train_iter_*.caffemodel" in done.stderr


def test_other_sets_than_voc_are_trained_on_train_once():
    for dataset in ("context", "person_part", "cityscapes", "coco_stuff"):
        nets, texts = recipe_files("deeplab_msc_largefov", "/data", dataset=dataset)
        assert [(file, net.layers[0].options.source) for file, net in nets] == [
            ("train.prototxt", "list/train.txt"),
            ("msc_train.prototxt", "list/train.txt"),
        ]
        assert "trainval" not in texts["run.sh"]


@pytest.mark.parametrize("name", ["deeplab_msc_largefov", "deeplab_resnet101"])
def test_recipe_runs_as_written(name, recipe_folder, deeplab, scripted, monkeypatch):
    folder = recipe_folder / "recipe"
    small = {"depths": (1, 1, 1, 1)} if name == "deeplab_resnet101" else {}
    nets, texts = recipe_files(name, size=(65, 65), batch=1, width=1 / 32, **small)
    # Two updates a phase, with the names that follow from that.
    for step in phases(name):
        solver = texts[step.solver]
        updates = step.last.removesuffix(".caffemodel").rpartition("_")[2]
        texts[step.solver] = solver.replace(f"max_iter: {updates}", "max_iter: 2")
    write_forms(nets, folder, texts=texts)
    first = nets[0][1]
    write_weights(net_arrays(fresh_net(first)), first, folder / "init.caffemodel")
    monkeypatch.chdir(folder)
    calls = scripted(folder, "--device", "cpu", data=recipe_folder)
    assert len(calls) == len(phases(name))
    for empty in folder.glob("*_iter_2.caffemodel"):
        empty.unlink()
    for call in calls * 2:  # the second time everything is done already
        result = deeplab(*call)
        assert result.exit_code == 0, result.output
    assert (folder / phases(name)[-1].last.replace(updates, "2")).is_file()
