"""A run that is cut short anywhere and continued gives the bits of one that was not."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from deeplab_repro.export.caffe import write_forms
from deeplab_repro.train import snapshot as snapshots
from deeplab_repro.train.settings import Settings
from deeplab_repro.train.trainer import Trainer
from deeplab_repro.train.watch.curve import Curve
from deeplab_repro.train.watch.watchers import JsonLog
from deeplab_repro.zoo.recipes import recipe_files
from prototxt_import import CaffeFormatError, read_solver, read_solverstate, read_weights

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
    one, two = (read_solverstate(tiny.folder / f"{name}_iter_12.solverstate{end}") for name in ("whole", "part"))
    assert all((a == b).all() for a, b in zip(one.history, two.history, strict=True))


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


def test_loss_curve_takes_its_past_from_the_log(tiny):
    tiny.write("test_iter: 2 test_interval: 3")
    log, page = tiny.folder / "log.jsonl", tiny.folder / "curve.html"
    tiny.train("part", max_iter=7, watchers=[JsonLog(log), Curve(page, log)])
    state = str(tiny.folder / "part_iter_7.solverstate")
    curve = Curve(page, log)
    tiny.train("part", snapshot=state, watchers=[JsonLog(log), curve])
    text = page.read_text()
    assert f"0 to 12 of 12; those before 7 from {log}" in text
    assert [text.count(f"<tr><td>{updates}</td>") for updates in (0, 3, 6, 9)] == [1] * 4
    (line, *_) = curve._figure().axes[0].get_lines()
    assert line.get_xydata().tolist() == [[row["iteration"], row["loss"]] for row in tiny.rows("log.jsonl")]
    tiny.train("part", snapshot=state, watchers=[Curve(page)])
    assert "7 to 12 of 12; those before 7 are not shown" in page.read_text()


def test_a_kill_while_a_log_is_taken_over_keeps_its_lines(tiny, monkeypatch):
    log = tiny.folder / "log.jsonl"
    tiny.train("part", max_iter=7, watchers=[JsonLog(log)])
    before = log.read_text()

    def cut(*names):
        raise Cut

    monkeypatch.setattr(os, "replace", cut)
    with pytest.raises(Cut):
        tiny.train("part", snapshot=str(tiny.folder / "part_iter_7.solverstate"), watchers=[JsonLog(log)])
    assert log.read_text() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_writes_a_snapshot_and_stops(tiny, same, number):
    class Sender(JsonLog):
        def iterated(self, one):
            super().iterated(one)
            if one.number == 5:
                os.kill(os.getpid(), number)

    tiny.train("whole")
    trainer = tiny.train("part", watchers=[Sender(tiny.folder / "log.jsonl")])
    assert (trainer.updates, trainer.stopped_by) == (6, number)
    tiny.train("part", snapshot=str(tiny.folder / "part_iter_6.solverstate"))
    same(tiny.weights("whole"), tiny.weights("part"))


def test_latest_passes_over_what_cannot_be_read(tiny, same):
    tiny.train("part", max_iter=8)
    tiny.train("whole")
    cut = tiny.folder / "part_iter_8.solverstate"
    cut.write_bytes(cut.read_bytes()[:-9])
    (tiny.folder / "part_iter_8.resume").unlink()
    log = tiny.folder / "log.jsonl"
    tiny.train("part", snapshot="latest", watchers=[JsonLog(log)])
    same(tiny.weights("whole"), tiny.weights("part"))
    start = json.loads(log.read_text().splitlines()[0])
    assert start["start"] == 4
    assert any(f"{cut} is passed over: " in note for note in start["notes"])
    for state in tiny.folder.glob("part_iter_*.solverstate"):
        state.write_bytes(b"")
    with pytest.raises(CaffeFormatError, match=r"part: no snapshot of it can be read.*part_iter_12.*part_iter_4"):
        tiny.train("part", snapshot="latest")


def test_record_of_other_files_is_refused(tiny):
    tiny.train("a", max_iter=4)
    tiny.write(random_seed=12)
    tiny.train("b", max_iter=4)
    os.replace(tiny.folder / "b_iter_4.resume", tiny.folder / "a_iter_4.resume")
    with pytest.raises(CaffeFormatError, match="belongs to other files"):
        snapshots.read_snapshot(tiny.folder / "a_iter_4.solverstate")


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


@pytest.mark.parametrize("form", ["BINARYPROTO", "HDF5"])
def test_a_net_that_no_fork_holds_keeps_its_snapshots(tiny, same, form):
    tiny.write(f"snapshot_format: {form}")
    net = tiny.folder / "net.prototxt"
    clip = 'layer { name: "relu1" type: "Clip" bottom: "conv1" top: "conv1" clip_param { min: 0 max: 6 } }'
    interp = 'layer { name: "up" type: "Interp" bottom: "conv1" top: "up" interp_param { zoom_factor: 2 } }'
    parts = net.read_text().split('layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }')
    net.write_text(f"{parts[0]}{clip}{interp}{parts[1]}")
    end = ".h5" if form == "HDF5" else ""
    told = tiny.train("whole", max_iter=4)._notes
    assert any("keep relu1 (Clip) by name alone" in note for note in told) == (form == "BINARYPROTO")
    tiny.train("part", max_iter=2)
    tiny.train("part", max_iter=4, snapshot="latest")
    same(*(read_weights(tiny.folder / f"{name}_iter_4.caffemodel{end}") for name in ("whole", "part")))


def test_what_a_snapshot_cannot_hold_is_said_before_the_first_update(tiny):
    tiny.write("snapshot_format: HDF5")
    net = tiny.folder / "net.prototxt"
    net.write_text(net.read_text().replace('name: "score"', 'name: "./score"'))
    with pytest.raises(CaffeFormatError, match=r"'./score' has a name that HDF5 cannot hold"):
        tiny.train()
    assert not list(tiny.folder.glob("snap*"))
