"""A run that is cut short anywhere and continued gives the bits of one that was not."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from deeplab_repro.export.caffe import write_forms
from deeplab_repro.train.settings import Settings
from deeplab_repro.train.trainer import Trainer
from deeplab_repro.train.watch.watchers import JsonLog
from deeplab_repro.zoo.recipes import recipe_files
from prototxt_import import read_solver, read_solverstate, read_weights

COMMAND = [sys.executable, "-c", "from deeplab_repro.cli import main; main()", "train"]
TYPES = ["SGD", "Nesterov", "Adam"]


class Cut(BaseException):
    """What a kill looks like to the code under it."""


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("form", ["BINARYPROTO", "HDF5"])
def test_own_state_continues_bit_for_bit(tiny, same, kind, form):
    tiny.write(f'type: "{kind}" snapshot_format: {form} iter_size: 2 test_iter: 2 test_interval: 3')
    end = ".h5" if form == "HDF5" else ""
    tiny.train("whole")
    tiny.train("part", max_iter=7)
    tiny.train("part", snapshot=str(tiny.folder / f"part_iter_7.solverstate{end}"))
    same(*(read_weights(tiny.folder / f"{name}_iter_12.caffemodel{end}") for name in ("whole", "part")))
    whole, part = (read_solverstate(tiny.folder / f"{name}_iter_12.solverstate{end}") for name in ("whole", "part"))
    assert all((a == b).all() for a, b in zip(whole.history, part.history, strict=True))


@pytest.mark.parametrize("name", ["deeplab_largefov", "deeplab_vgg16_aspp"])
def test_images_and_masks_go_on_where_they_were(name, recipe_folder, same, tmp_path):
    """v1 draws a seed a batch from the generator that Dropout uses; v2 one at the beginning."""
    nets, texts = recipe_files(name, str(recipe_folder), size=(65, 65), batch=2, width=1 / 32)
    write_forms(nets, recipe_folder / "recipe", texts=texts)
    solver = replace(read_solver(recipe_folder / "recipe" / "solver.prototxt"), random_seed=4, snapshot=0)

    def train(prefix, **settings):
        chosen = Settings(snapshot_prefix=str(tmp_path / prefix), **settings)
        with Trainer(solver, chosen, workers=2) as trainer:
            trainer.run()

    train("whole", max_iter=6)
    train("part", max_iter=3)
    train("part", max_iter=6, snapshot="latest")
    same(*(read_weights(tmp_path / f"{prefix}_iter_6.caffemodel") for prefix in ("whole", "part")))


@pytest.mark.parametrize("step", range(9))
def test_a_kill_between_any_two_files_leaves_a_state_to_go_on_from(tiny, same, monkeypatch, step):
    tiny.train("whole")
    done = 0
    replace = os.replace

    def cut(*names):
        nonlocal done
        if done == step:
            raise Cut
        done += 1
        replace(*names)

    monkeypatch.setattr(os, "replace", cut)
    with pytest.raises(Cut):
        tiny.train("part")
    monkeypatch.undo()
    trainer = tiny.train("part", snapshot="latest")
    assert trainer.updates == 12
    same(tiny.weights("whole"), tiny.weights("part"))


def test_killed_process_continues_bit_for_bit(tiny, same):
    tiny.write(max_iter=400, snapshot=10)
    arguments = [*COMMAND, "solver.prototxt", "--log", "log.jsonl", "--snapshot", "latest"]
    run = subprocess.Popen(arguments, cwd=tiny.folder, stdout=subprocess.DEVNULL)
    while run.poll() is None and not list(tiny.folder.glob("snap_iter_?0.solverstate")):
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    tiny.train("snap", snapshot="latest", watchers=[JsonLog(tiny.folder / "log.jsonl")])
    tiny.train("whole")
    same(tiny.weights("whole", 400), tiny.weights("snap", 400))
    assert [row["iteration"] for row in tiny.rows("log.jsonl")] == list(range(400))


def test_state_of_another_net_or_type_is_refused(tiny):
    tiny.train("a", max_iter=4)
    tiny.write('type: "Adam"')
    with pytest.raises(ValueError, match="holds 6 histories"):
        tiny.train("b", snapshot=str(tiny.folder / "a_iter_4.solverstate"))


def test_state_of_another_list_is_refused(tiny):
    shutil.copy(tiny.folder / "data.h5", tiny.folder / "same.h5")
    tiny.train("whole")
    (tiny.folder / "list.txt").write_text("same.h5\n")
    with pytest.raises(ValueError, match=r"list.txt: is not the list"):
        tiny.train("whole", snapshot=str(tiny.folder / "whole_iter_8.solverstate"))
