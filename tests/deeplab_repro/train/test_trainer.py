"""What a training run does besides moving weights: tests, logs, options, and what it says when something is wrong."""

from functools import partial

import numpy as np
import pytest
import torch

from tests.deeplab_repro.train.small_run import TESTED, Kept


def test_loss_is_averaged_as_asked_and_outputs_come_at_display(tiny):
    tiny.write(TESTED)
    kept = Kept()
    tiny.train(watchers=[kept])
    losses = [row.loss for row in kept.rows]
    assert kept.rows[7].smoothed == pytest.approx(np.mean(losses[5:8]))
    assert [row.number for row in kept.rows if row.outputs] == [0, 4, 8]
    assert kept.rows[4].outputs["loss"] == pytest.approx([losses[4]])
    assert any("frozen" in note for note in kept.start.notes)


def test_bf16_follows_float32_within_its_digits(tiny):
    kept, half = Kept(), Kept()
    tiny.train("plain", watchers=[kept])
    tiny.train("half", watchers=[half], amp="bf16")
    losses = np.array([[row.loss for row in watcher.rows] for watcher in (kept, half)])
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


def test_net_without_data_layer_is_refused(tiny):
    _, *layers = (tiny.folder / "net.prototxt").read_text().split("layer {")
    shapes = "input_shape { dim: 1 dim: 3 dim: 9 dim: 8 } input_shape { dim: 1 dim: 1 dim: 9 dim: 8 }"
    head = f'input: "data" input: "label" {shapes}'
    (tiny.folder / "net.prototxt").write_text("layer {".join([head, *layers[2:]]))
    with pytest.raises(ValueError, match="comes from no data layer"):
        tiny.train()
