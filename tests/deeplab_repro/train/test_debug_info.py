"""What `debug_info: true` prints, against the same net written out in torch."""

import re

import h5py
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from deeplab_repro.train.watch.watchers import Watcher
from prototxt_import import read_weights

# An in-place layer, a blob that two layers read, and one weight for two layers.
NET = """\
layer {{ name: "data" type: "HDF5Data" top: "data" top: "label"
  hdf5_data_param {{ source: "list.txt" batch_size: {batch} }} }}
layer {{ name: "first" type: "Convolution" bottom: "data" top: "a" param {{ name: "w" }} param {{ lr_mult: 2 }}
  convolution_param {{ num_output: 3 kernel_size: 3 pad: 1 weight_filler {{ type: "gaussian" std: 0.3 }} }} }}
layer {{ name: "relu" type: "ReLU" bottom: "a" top: "a" }}
layer {{ name: "second" type: "Convolution" bottom: "a" top: "b" param {{ name: "w" }} param {{ lr_mult: 0 }}
  convolution_param {{ num_output: 3 kernel_size: 3 pad: 1 }} }}
layer {{ name: "sum" type: "Eltwise" bottom: "a" bottom: "b" top: "score" }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label"
  loss_param {{ ignore_label: 255 }} }}
layer {{ name: "accuracy" type: "SegAccuracy" bottom: "score" bottom: "label" top: "accuracy"
  seg_accuracy_param {{ ignore_label: 255 }} }}
"""


class Lines(Watcher):
    def __init__(self):
        self.said = []

    def debugged(self, line):
        self.said.append(line)


def lines_of(tiny, solver, **settings):
    watcher = Lines()
    tiny.write(solver, net=NET)
    tiny.train(watchers=[watcher], **settings)
    return watcher.said


@pytest.mark.parametrize("how", [{}, {"checkpoint_activations": True}])
def test_lines_are_caffes_with_the_numbers_of_the_net(tiny, how):
    tiny.write("iter_size: 2", net=NET)
    tiny.train("one", max_iter=1)
    blobs = [
        np.array(blob)
        for name in ("first", "second")
        for blob in read_weights(tiny.folder / "one_iter_1.caffemodel")[name]
    ]
    said = lines_of(tiny, "iter_size: 2 debug_info: true display: 1", max_iter=2, **how)
    # The second iteration, from the weights of the first: passes 2 and 3 of two items each.
    at = [i for i, line in enumerate(said) if "[Forward] Layer data, top blob data" in line][2]
    w, b1, _, b2 = (torch.tensor(blob, requires_grad=True) for blob in blobs)
    assert torch.equal(torch.tensor(blobs[0]), torch.tensor(blobs[2]))
    with h5py.File(tiny.folder / "data.h5") as file:
        data, label = (torch.from_numpy(file[name][...]) for name in ("data", "label"))
    expected, part = [], torch.zeros_like(w)
    total = {"w": torch.zeros_like(w), "b1": torch.zeros_like(b1)}
    for rows in ([4, 5], [6, 0]):
        x, truth = data[rows], label[rows]
        w1, w2 = w.view_as(w), w.view_as(w)
        a = F.conv2d(x, w1, b1, padding=1)
        r = a.relu()
        into_second, into_sum = r.view_as(r), r.view_as(r)
        b = F.conv2d(into_second, w2, b2, padding=1)
        score = into_sum + b
        loss = F.cross_entropy(score, truth[:, 0].long(), ignore_index=255)
        kept = (a, r, into_second, into_sum, b, score, w1, w2)
        grads = dict(zip(("a", "r", "second", "sum", "b", "score", "w1", "w2", "b1"),
                         torch.autograd.grad(loss, (*kept, b1)), strict=True))  # fmt: skip
        part = total["w"] + grads["w2"]
        total = {"w": part + grads["w1"], "b1": total["b1"] + grads["b1"]}

        def mean(value):
            return value.abs().mean().item()

        expected += [
            ("[Forward] Layer data, top blob data data:", mean(x)),
            ("[Forward] Layer data, top blob label data:", mean(truth)),
            ("[Forward] Layer first, top blob a data:", mean(a)),
            ("[Forward] Layer first, param blob w data:", mean(w)),
            ("[Forward] Layer first, param blob 1 data:", mean(b1)),
            ("[Forward] Layer relu, top blob a data:", mean(r)),
            ("[Forward] Layer second, top blob b data:", mean(b)),
            ("[Forward] Layer second, param blob w data:", mean(w)),
            ("[Forward] Layer second, param blob 1 data:", mean(b2)),
            ("[Forward] Layer sum, top blob score data:", mean(score)),
            ("[Forward] Layer loss, top blob (automatic) data:", loss.item()),
            ("[Forward] Layer accuracy, top blob accuracy data:", None),
            ("[Backward] Layer loss, bottom blob score diff:", mean(grads["score"])),
            ("[Backward] Layer sum, bottom blob a diff:", mean(grads["sum"])),
            ("[Backward] Layer sum, bottom blob b diff:", mean(grads["b"])),
            ("[Backward] Layer second, bottom blob a diff:", mean(grads["second"])),
            ("[Backward] Layer second, param blob 0 diff:", mean(part)),
            ("[Backward] Layer relu, bottom blob a diff:", mean(grads["a"])),
            ("[Backward] Layer first, param blob 0 diff:", mean(total["w"])),
            ("[Backward] Layer first, param blob 1 diff:", mean(total["b1"])),
            ("[Backward] All net params (data, diff):", None),
        ]
    learnable, diffs = [w, b1, b2], list(total.values())
    norms = [
        sum(tensor.abs().pow(p).sum() for tensor in some) ** (1 / p) for p in (1, 2) for some in (learnable, diffs)
    ]
    matches = [re.fullmatch(r"    (.*:)( \S+|.*norm.*)", line) for line in said[at : at + len(expected)]]
    assert [match[1].split(" L1")[0] for match in matches] == [text for text, _ in expected]
    for line, (text, value) in zip(matches, expected, strict=True):
        if value is not None:
            assert float(line[2]) == pytest.approx(value, rel=2e-5), text
    last = re.fullmatch(
        r"    \[Backward\] All net params \(data, diff\): L1 norm = \((\S+), (\S+)\); L2 norm = \((\S+), (\S+)\)",
        said[at + len(expected) - 1],
    )
    assert [float(text) for text in last.groups()] == pytest.approx([text.item() for text in norms], rel=2e-5)
    updates = said[at + len(expected) :]
    assert [line.rpartition(" data:")[0] for line in updates] == [
        "    [Update] Layer first, param w",
        "    [Update] Layer first, param 1",
        "    [Update] Layer second, param 1",
    ]
    after = read_weights(tiny.folder / "snap_iter_2.caffemodel")
    moved = [(blobs[0], after["first"][0]), (blobs[1], after["first"][1])]
    for line, (before, now) in zip(updates[:2], moved, strict=True):
        numbers = [float(number) for number in re.search(r"data: (\S+); diff: (\S+)", line).groups()]
        # The difference of two rounded weights knows fewer digits than the update.
        assert numbers == pytest.approx([np.abs(before).mean(), np.abs(now - before).mean()], rel=1e-3)
    assert updates[2].endswith("; diff: 0")


def test_lines_come_at_display_and_change_nothing(tiny, same):
    said = lines_of(tiny, "display: 5 debug_info: true")
    told = tiny.weights()
    assert sum("All net params" in line for line in said) == 3
    assert lines_of(tiny, "display: 5") == lines_of(tiny, "debug_info: true") == []
    same(told, tiny.weights())


def test_test_nets_are_heard_in_every_pass(tiny):
    watcher = Lines()
    tiny.write("test_iter: 3 test_interval: 6 debug_info: true")
    tiny.train(watchers=[watcher])
    assert sum("Layer score, top blob score" in line for line in watcher.said) == 9
    assert not any("Backward" in line for line in watcher.said)
