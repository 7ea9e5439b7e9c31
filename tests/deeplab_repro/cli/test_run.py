"""`deeplab run`: blobs of forward passes."""

import numpy as np
import pytest
import torch

from deeplab_repro.data.feeds.caffe_rng import CaffeRng
from deeplab_repro.files.images import write_image
from deeplab_repro.net.load import load_caffe


@pytest.fixture
def x(tmp_path):
    values = np.random.default_rng(10).normal(size=(2, 3, 33, 49)).astype(np.float32)
    np.save(tmp_path / "x.npy", values)
    return values


def _run(toy, tmp_path, *more):
    return (
        "run",
        toy.prototxt,
        toy.caffemodel,
        "--input",
        f"data={tmp_path / 'x.npy'}",
        "-o",
        tmp_path / "o.npz",
        *more,
    )


def _written(tmp_path):
    with np.load(tmp_path / "o.npz") as archive:
        return {name: archive[name] for name in archive.files}


def test_outputs_named_blobs_or_all(tmp_path, toy, deeplab, x):
    with torch.no_grad():
        expected = {
            k: v.numpy() for k, v in load_caffe(toy.prototxt, toy.caffemodel)(data=torch.tensor(x), blobs="all").items()
        }
    for options, names in (
        ((), {"fc_interp"}),
        (("--blobs", "pool1,fc"), {"pool1", "fc"}),
        (("--blobs", "all"), {"data", "conv1", "pool1", "fc", "fc_interp"}),
    ):
        result = deeplab(*_run(toy, tmp_path, "--device", "cpu", *options))
        assert result.exit_code == 0, result.output
        written = _written(tmp_path)
        assert set(written) == names
        for name in names - {"data"}:
            np.testing.assert_array_equal(written[name], expected[name])


def test_passes_are_joined_along_axis_0(tmp_path, toy, deeplab, x):
    assert deeplab(*_run(toy, tmp_path, "--blobs", "fc", "--passes", 3)).exit_code == 0
    fc = _written(tmp_path)["fc"]
    assert fc.shape[0] == 6
    np.testing.assert_array_equal(fc[:2], fc[4:])


def test_a_seed_repeats_fillers_and_dropout(tmp_path, deeplab):
    text = (
        'input: "data" input_shape { dim: 1 dim: 3 dim: 9 dim: 9 }\n'
        'layer { name: "c" type: "Convolution" bottom: "data" top: "c"\n'
        '  convolution_param { num_output: 4 kernel_size: 1 weight_filler { type: "gaussian" std: 1 } } }\n'
        'layer { name: "d" type: "Dropout" bottom: "c" top: "d" }\n'
    )
    (tmp_path / "n.prototxt").write_text(text)
    np.save(tmp_path / "x.npy", np.ones((1, 3, 9, 9)))
    runs = []
    for seed in (1, 1, 2):
        options = ("--phase", "TRAIN", "--passes", 2, "--seed", seed, "-o", tmp_path / "o.npz", "--device", "cpu")
        result = deeplab("run", tmp_path / "n.prototxt", "--input", f"data={tmp_path / 'x.npy'}", *options)
        assert result.exit_code == 0, result.output
        runs.append(_written(tmp_path)["d"])
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (runs[0] != runs[2]).any()
    assert (runs[0][0] != runs[0][1]).any()


def test_what_run_refuses(tmp_path, toy, refused, x):
    np.save(tmp_path / "flat.npy", x[0, 0])
    np.save(tmp_path / "words.npy", np.array(["a"]))
    (tmp_path / "bad.npy").write_text("hello")
    run = ("run", toy.prototxt, toy.caffemodel, "-o", tmp_path / "o.npz")
    refused("data", *run)
    refused("did you mean 'data'", *run, "--input", f"dat={tmp_path / 'x.npy'}")
    refused("BLOB=FILE", *run, "--input", "data")
    for name in ("flat.npy", "words.npy", "bad.npy", "gone.npy"):
        word = name if name != "flat.npy" else "[33, 49]"
        refused(word, *run, "--input", f"data={tmp_path / name}")
    good = _run(toy, tmp_path)
    refused("fc9", *good, "--blobs", "fc9")
    refused("--phase", *good, "--phase", "BOTH")
    refused("--var", *good, "--var", "nothing")
    refused("--passes", *good, "--passes", 0)
    refused("/proc/nope", *good[:-1], "/proc/nope/o.npz")
    assert not (tmp_path / "o.npz").exists()


def test_data_layers_run_from_their_files_and_dropout_draws_from_the_same_generator(tmp_path, deeplab):
    (tmp_path / "list.txt").write_text("a.png 3\n")
    write_image(np.full((8, 9, 3), 100, np.uint8), tmp_path / "a.png")
    (tmp_path / "net.prototxt").write_text(
        'layer { name: "d" type: "ImageData" top: "data" top: "label" image_data_param { source: "list.txt" } }\n'
        'layer { name: "drop" type: "Dropout" bottom: "data" top: "out" dropout_param { dropout_ratio: 0.5 } }\n'
    )
    command = ("run", tmp_path / "net.prototxt", "--phase", "TRAIN", "--seed", 4, "--passes", 2)
    result = deeplab(*command, "--blobs", "out,label", "-o", tmp_path / "o.npz")
    assert result.exit_code == 0, result.output
    written = _written(tmp_path)
    assert written["label"].tolist() == [3, 3]
    # The layer draws the seed of its reading thread first.
    rng = CaffeRng(4)
    rng.next()
    for values in written["out"]:
        np.testing.assert_array_equal(values, np.where(rng.keep_mask(values.size, 0.5).reshape(values.shape), 200, 0))


def test_inputs_given_replace_a_data_layer_and_memory_data_takes_its_rows(tmp_path, deeplab, refused):
    (tmp_path / "net.prototxt").write_text(
        'layer { name: "m" type: "MemoryData" top: "data" top: "label"\n'
        "  memory_data_param { batch_size: 2 channels: 1 height: 1 width: 1 } }\n"
    )
    np.save(tmp_path / "data.npy", np.arange(4, dtype=np.float32).reshape(4, 1, 1, 1))
    np.save(tmp_path / "label.npy", np.arange(4, dtype=np.float32))
    given = [f"--input={name}={tmp_path / name}.npy" for name in ("data", "label")]
    command = ("run", tmp_path / "net.prototxt", "--blobs", "label", "-o", tmp_path / "o.npz")
    result = deeplab(*command, *given, "--passes", 3)
    assert result.exit_code == 0, result.output
    assert _written(tmp_path)["label"].tolist() == [0, 1, 2, 3, 0, 1]
    refused("label", *command, given[0])
    refused("needs --input", *command)
