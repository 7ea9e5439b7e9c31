"""Recordings: arrays by name, samples of them, byte images, passes."""

import numpy as np
import pytest

from deeplab_repro.inspect.diff import diff_net
from deeplab_repro.inspect.recording import golden_files, read_recordings


def test_samples_are_compared_at_their_places(tmp_path, net, blobs):
    index = np.array([3, 1000, 17])
    values = blobs["conv1"].ravel()[index] + np.float32([0, 1, 0])
    extra = {"sample/conv1": values, "idx/conv1": index, "shape/conv1": np.array(blobs["conv1"].shape)}
    np.savez(tmp_path / "g.npz", **{"in/data": blobs["data"], **extra})
    (recording,) = read_recordings(tmp_path / "g.npz", net.inputs)
    (row,) = diff_net(net, recording)
    assert row.worst == tuple(int(i) for i in np.unravel_index(1000, blobs["conv1"].shape))
    assert row.max_abs == pytest.approx(1, rel=1e-5)


def test_byte_images_have_their_mean_subtracted(tmp_path, net):
    image = np.random.default_rng(9).integers(0, 256, (1, 3, 33, 33), np.uint8)
    np.savez(tmp_path / "g.npz", **{"in_u8/data": image, "mean": np.array([1.0, 2.0, 3.0]), "out/fc": np.zeros(1)})
    (recording,) = read_recordings(tmp_path / "g.npz", net.inputs)
    np.testing.assert_array_equal(recording.inputs["data"][0, :, 0, 0], image[0, :, 0, 0] - np.float32([1, 2, 3]))


def test_plain_names_are_blobs(tmp_path, net, blobs):
    np.savez(tmp_path / "g.npz", **blobs)
    (recording,) = read_recordings(tmp_path / "g.npz", net.inputs)
    assert len(diff_net(net, recording)) == 4


def test_passes_keep_inputs_that_do_not_change(tmp_path, net, blobs):
    arrays = {"pass0/in/data": blobs["data"], "pass0/out/fc": blobs["fc"], "pass10/out/fc": blobs["fc"] + 1}
    np.savez(tmp_path / "g.npz", **arrays, **{"pass2/out/fc": blobs["fc"]})
    recordings = read_recordings(tmp_path / "g.npz", net.inputs)
    assert [diff_net(net, recording)[0].ok for recording in recordings] == [True, True, False]


def test_golden_files_of_a_folder(tmp_path):
    for name in ("b.npz", "a.npz", "c.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in golden_files(tmp_path)] == ["a.npz", "b.npz"]
    (tmp_path / "deeper").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no \.npz"):
        golden_files(tmp_path / "deeper")
