"""What a training run does besides moving weights: tests, logs, options, and what it says when something is wrong."""

import json
import sys
from functools import partial
from io import StringIO

import h5py
import numpy as np
import pytest
import torch

from deeplab_repro.data.feeds.caffe_rng import CaffeRng
from deeplab_repro.net.network import CaffeNet
from deeplab_repro.train.masks import DropoutMasks
from deeplab_repro.train.not_finite import NotFinite
from deeplab_repro.train.watch.console import Console
from deeplab_repro.train.watch.curve import Curve
from deeplab_repro.train.watch.watchers import Iteration, JsonLog, Start, TensorBoard, Watcher
from prototxt_import import read_net

TESTED = "test_iter: 3 test_interval: 5 display: 4"


class Kept(Watcher):
    def __init__(self):
        self.rows, self.tests, self.start = [], [], None

    def started(self, start):
        self.start = start

    def iterated(self, one):
        self.rows.append(one)

    def tested(self, updates, index, outputs):
        self.tests.append((updates, outputs))


def test_test_net_uses_the_trained_weights_and_averages_its_passes(tiny):
    tiny.write(TESTED)
    kept = Kept()
    trainer = tiny.train(watchers=[kept])
    assert [updates for updates, _ in kept.tests] == [0, 5, 10]
    assert [len(kept.tests[0][1][name]) for name in ("loss", "accuracy")] == [1, 3]
    # The third phase reads items 6, 0, 1 of seven, one a pass, with the weights of ten updates.
    tiny.train("ten", max_iter=10)
    spec = read_net(tiny.folder / "net.prototxt", phase="TEST", weights=tiny.folder / "ten_iter_10.caffemodel")
    with h5py.File(tiny.folder / "data.h5") as file:
        batches = [{name: torch.from_numpy(file[name][i : i + 1]) for name in ("data", "label")} for i in (6, 0, 1)]
    net = CaffeNet(spec.with_inputs({name: tuple(value.shape) for name, value in batches[0].items()}))
    losses = [net(**batch)["loss"].item() for batch in batches]
    assert kept.tests[2][1]["loss"][0] == pytest.approx(np.mean(losses), rel=1e-6)
    assert trainer.updates == 12


def test_loss_is_averaged_as_asked_and_outputs_come_at_display(tiny):
    tiny.write(TESTED)
    kept = Kept()
    tiny.train(watchers=[kept])
    losses = [row.loss for row in kept.rows]
    assert kept.rows[7].smoothed == pytest.approx(np.mean(losses[5:8]))
    assert [row.number for row in kept.rows if row.outputs] == [0, 4, 8]
    assert kept.rows[4].outputs["loss"] == pytest.approx([losses[4]])
    assert any("frozen" in note for note in kept.start.notes)


def test_logs_and_pictures_are_written(tiny, tmp_path):
    pytest.importorskip("tensorboard")
    tiny.write(TESTED)
    folder = tmp_path / "board"
    watchers = [
        JsonLog(tmp_path / "l.jsonl"),
        TensorBoard(folder),
        Curve(tmp_path / "r.html"),
        Curve(tmp_path / "r.png"),
    ]
    tiny.train(watchers=watchers)
    rows = tiny.rows("l.jsonl")
    assert [row["iteration"] for row in rows] == list(range(12))
    assert {"loss", "lr", "smoothed", "seconds"} <= rows[0].keys()
    tests = [json.loads(line) for line in (tmp_path / "l.jsonl").read_text().splitlines() if '"test"' in line]
    assert [row["updates"] for row in tests] == [0, 5, 10]
    page = (tmp_path / "r.html").read_text()
    assert page.count("data:image/png") == 3
    assert "data:image/svg" in page
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    assert len(events.Scalars("train/loss")) == 12
    assert len(events.Scalars("test0/accuracy_2")) == 3
    assert "prediction" in events.Tags()["images"]


def test_pictures_change_no_bit_of_the_training(tiny, same, tmp_path):
    tiny.with_batch_norm()
    tiny.train("plain")
    tiny.train("watched", watchers=[Curve(tmp_path / "r.html")])
    assert "data:image/png" in (tmp_path / "r.html").read_text()
    assert tiny.weights("plain")["norm"][2] != 0
    same(tiny.weights("plain"), tiny.weights("watched"))


def test_dropout_masks_are_caffes():
    spec = read_net_of("data", (2, 3, 4, 5), 'dropout_param { dropout_ratio: 0.25 } bottom: "data" top: "b" name: "d1"')
    rng, same = CaffeRng(5), CaffeRng(5)
    whole = DropoutMasks(CaffeNet(spec), rng).draw({"data": (2, 3, 4, 5)})["d1"]
    assert np.array_equal(whole.numpy().reshape(-1), same.keep_mask(120, 0.25))
    second = DropoutMasks(CaffeNet(spec), CaffeRng(5)).draw({"data": (2, 3, 4, 5)}, slice(1, 2))["d1"]
    assert torch.equal(second, whole[1:])


def read_net_of(name, shape, dropout):
    from prototxt_import import parse_net

    dims = " ".join(f"dim: {side}" for side in shape)
    text = f'input: "{name}" input_shape {{ {dims} }} layer {{ type: "Dropout" {dropout} }}'
    return parse_net(text, source="test", phase="TRAIN")


def test_recomputed_activations_change_no_bit(tiny, same):
    tiny.train("plain")
    tiny.train("other", checkpoint_activations=True)
    same(tiny.weights("plain"), tiny.weights("other"))


def test_bf16_follows_float32_within_its_digits(tiny):
    kept, half = Kept(), Kept()
    tiny.train("plain", watchers=[kept])
    tiny.train("half", watchers=[half], amp="bf16")
    losses = np.array([[row.loss for row in each.rows] for each in (kept, half)])
    assert np.abs(losses[1] / losses[0] - 1).max() < 2e-2
    assert not np.array_equal(*losses)


# What traces the net looks at .grad of every tensor.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_compiled_net_follows_the_plain_one(tiny, monkeypatch):
    tiny.train("plain")
    # Capturing the net's graphs is ours; the code made of them is torch's, and takes a minute.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    tiny.train("compiled", compile=True)
    for name, blobs in tiny.weights("plain").items():
        for a, b in zip(blobs, tiny.weights("compiled")[name], strict=True):
            assert np.abs(a - b).max() <= 1e-5 * max(np.abs(a).max(), 1e-6)


def test_weights_that_grow_without_bound_are_named(tiny):
    tiny.write(base_lr=1e30)
    with pytest.raises(NotFinite, match=r"iteration \d+: the loss is nan.*layer '(conv1|frozen|score)'"):
        tiny.train()


def test_data_that_are_not_finite_are_named(tiny):
    with h5py.File(tiny.folder / "data.h5", "r+") as file:
        file["data"][3, 0, 0, 0] = np.nan
    with pytest.raises(NotFinite, match="iteration 1: the loss is nan; the data layer's blob 'data'"):
        tiny.train()


@pytest.mark.parametrize(
    ("changed", "settings", "word"),
    [
        ({"lr_policy": '"polly"'}, {}, "poly"),
        ({"momentum": 1.5}, {}, "momentum"),
        ({"momentum": "nan"}, {}, "momentum"),
        ({"weight_decay": "nan"}, {}, "solver.prototxt: weight_decay must be a finite number, is nan"),
        ({"solver_mode": "CPU clip_gradients: nan"}, {}, "clip_gradients must be a number"),
        ({"net": '"other.prototxt"'}, {}, "other.prototxt"),
        ({}, {"max_iter": 99}, "poly ends at max_iter 12"),
        ({}, {"amp": "fp8"}, "fp8"),
        ({"solver_mode": 'CPU type: "AdaGrad"'}, {}, "momentum"),
        ({"solver_mode": "CPU test_interval: 2 test_iter: 0"}, {}, "test_iter"),
        ({"solver_mode": "CPU iter_size: 0"}, {}, "iter_size"),
        ({"solver_mode": 'CPU regularization_type: "L3"'}, {}, "L3"),
    ],
)
def test_settings_that_make_no_sense_are_refused(tiny, changed, settings, word):
    tiny.write(**changed)
    with pytest.raises(ValueError, match=word):
        tiny.train(**settings)


def test_net_without_data_layer_is_refused(tiny):
    _, *layers = (tiny.folder / "net.prototxt").read_text().split("layer {")
    shapes = "input_shape { dim: 1 dim: 3 dim: 9 dim: 8 } input_shape { dim: 1 dim: 1 dim: 9 dim: 8 }"
    head = f'input: "data" input: "label" {shapes}'
    (tiny.folder / "net.prototxt").write_text("layer {".join([head, *layers[2:]]))
    with pytest.raises(ValueError, match="comes from no data layer"):
        tiny.train()


def test_lines_stay_in_a_file_under_a_bar(monkeypatch, capsys):
    class Terminal(StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    console = Console()
    console.started(Start("s.prototxt", "net", 0, 5, 1, "cpu", 1, 10))
    console.iterated(Iteration(0, 1.5, 1.5, 0.1, 0.2, True))
    console.closed()
    assert [line.split(",")[0] for line in capsys.readouterr().out.splitlines()] == [
        "net: 10 parameters",
        "Iteration 0",
    ]
    assert "training" in sys.stderr.getvalue()


def test_compute_loss_tells_the_weighted_loss_of_a_test_net(tiny):
    tiny.write(f"{TESTED} test_compute_loss: true")
    kept = Kept()
    tiny.train(watchers=[kept])
    assert kept.tests[0][1]["test loss"] == pytest.approx(kept.tests[0][1]["loss"])
