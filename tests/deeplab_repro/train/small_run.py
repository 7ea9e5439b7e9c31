"""A net of a thousand numbers with data, solver and first weights in a folder."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

from deeplab_repro.train.watch.watchers import Watcher
from prototxt_import import read_solver, read_weights

NET = """\
name: "tiny"
layer {{ name: "data" type: "HDF5Data" top: "data" top: "label" include {{ phase: TRAIN }}
  hdf5_data_param {{ source: "list.txt" batch_size: {batch} }} }}
layer {{ name: "data" type: "HDF5Data" top: "data" top: "label" include {{ phase: TEST }}
  hdf5_data_param {{ source: "list.txt" batch_size: 1 }} }}
layer {{ name: "conv1" type: "Convolution" bottom: "data" top: "conv1" param {{ lr_mult: 1 }} param {{ lr_mult: 2
  decay_mult: 0 }} convolution_param {{ num_output: 4 kernel_size: 3 pad: 2 dilation: 2
  weight_filler {{ type: "gaussian" std: 0.1 }} }} }}
layer {{ name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }}
layer {{ name: "drop1" type: "Dropout" bottom: "conv1" top: "conv1" dropout_param {{ dropout_ratio: 0.3 }} }}
layer {{ name: "frozen" type: "Convolution" bottom: "conv1" top: "frozen" param {{ lr_mult: 0 }} param {{ lr_mult: 0 }}
  convolution_param {{ num_output: 4 kernel_size: 1 weight_filler {{ type: "gaussian" std: 0.5 }} }} }}
layer {{ name: "score" type: "Convolution" bottom: "frozen" top: "score" param {{ lr_mult: 10 }} param {{ lr_mult: 20 }}
  convolution_param {{ num_output: 3 kernel_size: 1 weight_filler {{ type: "gaussian" std: 0.1 }} }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss"
  loss_param {{ ignore_label: 255 }} }}
layer {{ name: "accuracy" type: "SegAccuracy" bottom: "score" bottom: "label" top: "accuracy"
  seg_accuracy_param {{ ignore_label: 255 }} }}
"""


SOLVER = """\
net: "net.prototxt"
base_lr: 0.05 lr_policy: "poly" power: 0.9 max_iter: 12
momentum: 0.9 weight_decay: 0.0005 random_seed: 11 average_loss: 3
snapshot: 4 snapshot_prefix: "snap" solver_mode: CPU
"""


@pytest.fixture
def tiny(tmp_path):
    """tiny.write(solver="extra lines", batch=2, base_lr=1): its files anew; tiny.train(...) trains there.

    tiny.with_batch_norm() adds a BatchNorm layer with statistics of the batch to the net that is written."""
    h5py = pytest.importorskip("h5py")
    random = np.random.default_rng(3)
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["data"] = random.normal(size=(7, 3, 9, 8)).astype(np.float32)
        label = random.integers(0, 3, (7, 1, 9, 8)).astype(np.float32)
        # As many pixels count in one item as ignored in another: an average of averages would show.
        label[1::2, :, :6] = 255
        file["label"] = label
    (tmp_path / "list.txt").write_text("data.h5\n")

    def write(solver="", batch=2, net=NET, **changed):
        text = SOLVER
        for name, value in changed.items():
            text, count = re.subn(rf"\b{name}: \S+", f"{name}: {value}", text)
            assert count == 1
        (tmp_path / "net.prototxt").write_text(net.format(batch=batch))
        (tmp_path / "solver.prototxt").write_text(text + solver)
        return tmp_path / "solver.prototxt"

    def with_batch_norm():
        norm = 'layer { name: "norm" type: "BatchNorm" bottom: "conv1" top: "conv1" }'
        head, tail = (tmp_path / "net.prototxt").read_text().split('layer { name: "relu1"')
        (tmp_path / "net.prototxt").write_text(f'{head}{norm}\nlayer {{ name: "relu1"{tail}')

    def train(prefix="snap", watchers=(), ranks=None, **settings):
        from deeplab_repro.jobs.ranks import Ranks
        from deeplab_repro.train.settings import Settings
        from deeplab_repro.train.trainer import Trainer

        solver = read_solver(tmp_path / "solver.prototxt")
        chosen = Settings(snapshot_prefix=str(tmp_path / prefix), **settings)
        with Trainer(solver, chosen, ranks or Ranks(), watchers) as trainer:
            trainer.run()
        return trainer

    def weights(prefix="snap", iteration=12):
        return read_weights(tmp_path / f"{prefix}_iter_{iteration}.caffemodel")

    def rows(log):
        lines = [json.loads(line) for line in (tmp_path / log).read_text().splitlines()]
        return [row for row in lines if "iteration" in row]

    write()
    return SimpleNamespace(
        folder=tmp_path, write=write, with_batch_norm=with_batch_norm, train=train, weights=weights, rows=rows
    )


TESTED = "test_iter: 3 test_interval: 5 display: 4"


class Kept(Watcher):
    def __init__(self):
        self.rows, self.tests, self.start = [], [], None

    def started(self, start):
        self.start = start

    def iterated(self, iteration):
        self.rows.append(iteration)

    def tested(self, updates, index, outputs):
        self.tests.append((updates, outputs))
