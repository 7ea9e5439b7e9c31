"""Videos, frame by frame: read and written by OpenCV, without their sound."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from deeplab_repro.files.atomic import replacing

SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")
CODEC = "mp4v"  # which OpenCV's wheels write everywhere
Pixels = NDArray[np.uint8]


def is_video(path: Path) -> bool:
    """Whether a file's name is that of a video.

    Args:
        path: The file.

    Returns:
        The answer.
    """
    return path.suffix.lower() in SUFFIXES


@dataclass(frozen=True)
class Video:
    """A video file.

    Args:
        path: The file.
        frames: How many it says it has; 0 where it does not say.
        rate: Frames a second.
    """

    path: Path
    frames: int
    rate: float

    def __iter__(self) -> Iterator[Pixels]:
        """Each frame, RGB uint8 [H, W, 3]."""
        with _opened(self.path) as capture:
            while True:
                there, frame = capture.read()
                if not there:
                    return
                yield np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)


def open_video(path: Path) -> Video:
    """Look at a video: its first frame has to be readable.

    Args:
        path: The file.

    Returns:
        The video.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: OpenCV cannot read it; the message names it.
    """
    with _opened(path) as capture:
        there, _ = capture.read()
        if not there:
            raise ValueError(f"{path}: no video that OpenCV can read, or one without frames")
        rate = float(capture.get(cv2.CAP_PROP_FPS))
        frames = int(max(0, capture.get(cv2.CAP_PROP_FRAME_COUNT)))
    return Video(path, frames, rate if math.isfinite(rate) and rate > 0 else 25.0)


@contextmanager
def _opened(path: Path) -> Iterator[cv2.VideoCapture]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    capture = cv2.VideoCapture(str(path))
    try:
        yield capture
    finally:
        capture.release()


class VideoWriter:
    """Frames into an .mp4 file.

    Args:
        path: Where they go.
        rate: Frames a second.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self._path, self._rate = path, rate
        self._writer: cv2.VideoWriter | None = None

    def write(self, frame: Pixels) -> None:
        """Add a frame.

        Args:
            frame: RGB uint8 [H, W, 3], of the first one's size.

        Raises:
            ValueError: OpenCV cannot write such a video here.
        """
        # Codecs halve colours: an odd last row or column goes without.
        height, width = (side - side % 2 for side in frame.shape[:2])
        if self._writer is None:
            code = cv2.VideoWriter.fourcc(*CODEC)
            self._writer = cv2.VideoWriter(str(self._path), code, self._rate, (width, height))
            if not self._writer.isOpened():
                raise ValueError(
                    f"{self._path}: this OpenCV writes no {CODEC} video; pip install opencv-python-headless"
                )
        self._writer.write(cv2.cvtColor(np.ascontiguousarray(frame[:height, :width]), cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.release()


@contextmanager
def written_video(path: Path, rate: float) -> Iterator[VideoWriter]:
    """A writer whose file appears when all frames are in it, and not at all where that fails.

    Args:
        path: The .mp4 file.
        rate: Frames a second.

    Raises:
        OSError: The folder cannot be written.
    """
    with replacing(path) as temporary:
        writer = VideoWriter(temporary, rate)
        try:
            yield writer
        finally:
            writer.close()
