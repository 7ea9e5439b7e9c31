"""Score and label files of the original pipeline."""

import io
import struct

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from deeplab_repro.files.arrays import read_bin, read_mat, read_scores, write_bin, write_mat, write_npy, write_npz

SCORES = np.random.default_rng(1).normal(size=(3, 4, 5)).astype(np.float32)  # [L, H, W]


@pytest.mark.parametrize("trailing", [(), (1,)])
def test_mat_is_read_as_width_height_channels(tmp_path, trailing):
    data = np.zeros((5, 4, 3, *trailing), np.float32)
    for x, y, c in np.ndindex(5, 4, 3):
        data[x, y, c] = SCORES[c, y, x]
    savemat(tmp_path / "a.mat", {"data": data, "other": 1})
    np.testing.assert_array_equal(read_mat(tmp_path / "a.mat"), SCORES)


def test_mat_of_one_label_without_its_last_axis(tmp_path):
    savemat(tmp_path / "a.mat", {"data": SCORES[0].T})
    np.testing.assert_array_equal(read_mat(tmp_path / "a.mat"), SCORES[:1])


def test_written_mat_has_caffe_memory_order_and_class_single(tmp_path):
    write_mat(SCORES, tmp_path / "a.mat")
    data = loadmat(tmp_path / "a.mat")["data"]
    assert data.dtype == np.float32
    assert data.shape in [(5, 4, 3), (5, 4, 3, 1)]
    np.testing.assert_array_equal(data.ravel(order="F"), SCORES.ravel())
    np.testing.assert_array_equal(read_mat(tmp_path / "a.mat"), SCORES)


def test_bin_is_three_integers_and_columns(tmp_path):
    labels = np.arange(6, dtype=np.int16).reshape(2, 3)
    write_bin(labels, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == struct.pack("<3i6h", 2, 3, 1, 0, 3, 1, 4, 2, 5)
    np.testing.assert_array_equal(read_bin(tmp_path / "a.bin")[0], labels)


def test_bin_of_probabilities_comes_back(tmp_path):
    write_bin(SCORES, tmp_path / "a.bin")
    content = (tmp_path / "a.bin").read_bytes()
    assert struct.unpack("<3i", content[:12]) == (4, 5, 3)
    np.testing.assert_array_equal(np.frombuffer(content, "<f4", offset=12)[:4], SCORES[0, :, 0])
    np.testing.assert_array_equal(read_bin(tmp_path / "a.bin"), SCORES)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".mat", ".bin"])
def test_every_format_gives_the_same_scores(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    writer = {".npy": write_npy, ".mat": write_mat, ".bin": write_bin}.get(suffix)
    if writer:
        writer(SCORES, path)
    else:
        write_npz({"scores": SCORES[None], "more": SCORES[0]}, path)
    scores = read_scores(path, probabilities=False)
    np.testing.assert_array_equal(scores.values, SCORES)
    assert scores.values.dtype == np.float32


def test_mat_may_be_larger_than_the_image_and_others_may_not(tmp_path):
    write_mat(SCORES, tmp_path / "a.mat")
    write_npy(SCORES, tmp_path / "a.npy")
    np.testing.assert_array_equal(read_scores(tmp_path / "a.mat").cropped(3, 2).values, SCORES[:, :3, :2])
    with pytest.raises(ValueError, match=r"a\.npy.*4 x 5.*3 x 2"):
        read_scores(tmp_path / "a.npy").cropped(3, 2)
    with pytest.raises(ValueError, match=r"a\.mat.*4 x 5.*4 x 6"):
        read_scores(tmp_path / "a.mat").cropped(4, 6)


def test_bin_holds_probabilities_unless_told(tmp_path):
    q = np.exp(SCORES) / np.exp(SCORES).sum(0)
    write_bin(q, tmp_path / "a.bin")
    assert read_scores(tmp_path / "a.bin").probabilities
    assert not read_scores(tmp_path / "a.bin", probabilities=False).probabilities


def _npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _mat(**variables):
    buffer = io.BytesIO()
    savemat(buffer, variables)
    return buffer.getvalue()


BAD = {
    "text.npy": (b"hello", "numpy"),
    "empty.npy": (b"", "numpy"),
    "cut.npy": (_npy(SCORES)[:-9], "numpy"),
    "flat.npy": (_npy(SCORES[0]), r"\[L, H, W\]"),
    "words.npy": (_npy(np.full((2, 2, 2), "x")), "numbers"),
    "nan.npy": (_npy(np.full((2, 2, 2), np.nan)), "NaN"),
    "none.npy": (_npy(np.zeros((2, 0, 2))), "empty"),
    "text.npz": (b"PK\3\4", "numpy"),
    "text.mat": (b"hello" * 50, "MATLAB"),
    "empty.mat": (b"", "MATLAB"),
    "cut.mat": (_mat(data=SCORES)[:200], "MATLAB"),
    "other.mat": (_mat(scores=SCORES), "'data'.*scores"),
    "flat.mat": (_mat(data=np.zeros((2, 2, 2, 2))), r"\[W, H, C\]"),
    "short.bin": (b"123", "header"),
    "size.bin": (struct.pack("<3i4f", 4, 4, 4, 0, 0, 0, 0), "4 x 4 x 4"),
    "minus.bin": (struct.pack("<3i", -4, -4, 0), "-4 x -4 x 0"),
    "logits.bin": (struct.pack("<3i2f", 1, 1, 2, -3, 4), "logits"),
    "a.csv": (b"1,2", "csv"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_score_files_are_named_with_what_is_wrong(tmp_path, name):
    content, word = BAD[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name}.*{word}"):
        read_scores(tmp_path / name)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".mat", ".bin"])
def test_missing_score_files_are_os_errors(tmp_path, suffix):
    with pytest.raises(FileNotFoundError):
        read_scores(tmp_path / f"none{suffix}")


def test_npz_takes_any_name(tmp_path):
    write_npz({"file": SCORES, "a/b": SCORES[0], "scalar": np.float32(2)}, tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as archive:
        assert set(archive.files) == {"file", "a/b", "scalar"}
        np.testing.assert_array_equal(archive["a/b"], SCORES[0])
        assert archive["scalar"] == 2


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="Object"):
        write_npz({"a": SCORES, "b": np.array([object()])}, tmp_path / "a.npz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("suffix", "order"), [(".npy", r"\[labels, height, width\]"), (".mat", r"\[width, height, ")])
def test_axes_in_another_order_are_told(tmp_path, suffix, order):
    turned = np.zeros((20, 3, 30), np.float32)
    file = tmp_path / f"scores{suffix}"
    np.save(file, turned) if suffix == ".npy" else write_mat(turned, file)
    scores = read_scores(file)
    with pytest.raises(ValueError, match=f"do not fit the image's 20 x 30; the axes have to be {order}"):
        scores.cropped(20, 30)
    with pytest.raises(ValueError, match=r"do not fit the image's 40 x 50$"):
        scores.cropped(40, 50)
