"""Snapshots: Caffe's files and the record beside them."""

import json
import os

import pytest

from deeplab_repro.train import snapshot as snapshots
from deeplab_repro.train.watch.watchers import JsonLog
from prototxt_import import CaffeFormatError, read_weights


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
