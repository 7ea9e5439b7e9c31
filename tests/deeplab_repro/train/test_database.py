"""`deeplab train` and `deeplab run` on an LMDB database, which the train and the test net share."""

import json

import numpy as np
import pytest

from prototxt_import import schema

lmdb = pytest.importorskip("lmdb")

NET = """\
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  data_param { source: "db" backend: LMDB batch_size: 4 } transform_param { scale: 0.004 crop_size: 4 mirror: true } }
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
  data_param { source: "db" backend: LMDB batch_size: 3 } transform_param { scale: 0.004 crop_size: 4 } }
layer { name: "score" type: "InnerProduct" bottom: "data" top: "score"
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
layer { name: "right" type: "Accuracy" bottom: "score" bottom: "label" top: "right" include { phase: TEST } }
"""
SOLVER = """\
net: "net.prototxt" base_lr: 0.5 lr_policy: "fixed" max_iter: 30 momentum: 0.9 random_seed: 3 display: 10
test_iter: 2 test_interval: 30 snapshot_prefix: "snap" solver_mode: CPU
"""


def test_a_net_learns_from_a_database_and_is_tested_on_it(tmp_path, monkeypatch, deeplab):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    with lmdb.open("db", map_size=2**22) as opened, opened.begin(write=True) as transaction:
        for i in range(6):
            pixels = random.integers(0, 100, (1, 5, 5), np.uint8) + np.uint8(150 * (i % 2))
            record = schema.message("bvlc", "Datum")(channels=1, height=5, width=5, data=pixels.tobytes(), label=i % 2)
            transaction.put(b"%03d" % i, record.SerializeToString())
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "solver.prototxt").write_text(SOLVER)
    result = deeplab("train", "solver.prototxt", "--log", "log.jsonl")
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    tested = [row["outputs"] for row in rows if "test" in row]
    assert tested[-1]["right"] == [1.0]
    result = deeplab("run", "net.prototxt", "snap_iter_30.caffemodel", "-o", "o.npz", "--blobs", "label", "--passes", 2)
    assert result.exit_code == 0, result.output
    assert np.load("o.npz")["label"].tolist() == [0, 1, 0, 1, 0, 1]
