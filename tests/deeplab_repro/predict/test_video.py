"""Videos are read and written frame by frame."""

from pathlib import Path

import numpy as np
import pytest

from deeplab_repro.predict.video import is_video, open_video, written_video


def frames(count=3, height=48, width=64):
    return [np.full((height, width, 3), 60 * index + 30, np.uint8) for index in range(count)]


def test_what_is_written_is_read(tmp_path):
    with written_video(tmp_path / "a.mp4", 5) as writer:
        for frame in frames():
            writer.write(frame)
    video = open_video(tmp_path / "a.mp4")
    assert (video.frames, video.rate) == (3, 5)
    read = list(video)
    assert len(read) == 3
    for got, wanted in zip(read, frames(), strict=True):
        assert got.shape == wanted.shape
        assert abs(got.astype(int) - wanted).max() < 10  # the codec is lossy
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]


def test_odd_sides_lose_their_last_row(tmp_path):
    with written_video(tmp_path / "a.mp4", 5) as writer:
        for frame in frames(2, 49, 65):
            writer.write(frame)
    assert next(iter(open_video(tmp_path / "a.mp4"))).shape == (48, 64, 3)


def test_a_video_that_fails_half_way_leaves_nothing(tmp_path):
    def fail():
        with written_video(tmp_path / "a.mp4", 5) as writer:
            writer.write(frames()[0])
            raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        fail()
    assert not list(tmp_path.iterdir())


def test_what_is_no_video_is_refused(tmp_path):
    assert is_video(Path("a.MP4"))
    assert not is_video(Path("a.png"))
    with pytest.raises(FileNotFoundError, match=r"gone\.mp4: no such file"):
        open_video(tmp_path / "gone.mp4")
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match=r"a\.mp4: no video"):
        open_video(tmp_path / "a.mp4")
