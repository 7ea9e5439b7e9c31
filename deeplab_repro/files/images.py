"""Reading and writing photographs: RGB uint8 [H, W, 3], by OpenCV 4 or 5."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from deeplab_repro.files.atomic import replacing

Pixels = NDArray[np.uint8]
SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    """Keep OpenCV's own lines off standard error: what goes wrong is raised."""
    log = cv2.utils.logging
    level = log.getLogLevel()
    log.setLogLevel(log.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        log.setLogLevel(level)


def _is_cut_short(data: bytes) -> bool:
    """Whether a JPEG or PNG ends before its end marker; decoders then fill up with grey, some without a word."""
    if data.startswith(b"\xff\xd8"):
        return data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data
    return False


# EXIF orientation to (transposed, turned upside down, mirrored) in that order: what shows a picture upright.
_TURNS = {
    1: (False, False, False), 2: (False, False, True), 3: (False, True, True), 4: (False, True, False),
    5: (True, False, False), 6: (True, False, True), 7: (True, True, True), 8: (True, True, False),
}  # fmt: skip


def exif_orientation(path: str | os.PathLike[str]) -> int:
    """The EXIF orientation of a picture, 1..8; 1 where it has none or cannot be read.

    Args:
        path: The picture.

    Returns:
        The orientation. `read_bgr` and `read_image` turn the pixels by it, `read_labels` and `read_label_map` do not.

    Source:
        Exif 2.32, tag 0x0112.
    """
    try:
        with Image.open(path) as picture:
            orientation = picture.getexif().get(0x0112, 1)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return 1
    return orientation if orientation in _TURNS else 1


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels [H, W, ...] turned upright by an EXIF orientation.

    Args:
        pixels: As stored.
        orientation: 1..8, as `exif_orientation` gives it.

    Returns:
        The pixels as they are to be seen, [W, H, ...] for 5 to 8.

    Example:
        >>> import numpy as np
        >>> from deeplab_repro.files.images import turned
        >>> turned(np.array([[1, 2], [3, 4]]), 6).tolist()  # a quarter clockwise
        [[3, 1], [4, 2]]
    """
    transposed, flipped, mirrored = _TURNS[orientation]
    pixels = pixels.swapaxes(0, 1) if transposed else pixels
    pixels = pixels[::-1] if flipped else pixels
    return np.ascontiguousarray(pixels[:, ::-1] if mirrored else pixels)


def read_bgr(path: str | os.PathLike[str], mode: int = cv2.IMREAD_COLOR) -> np.ndarray:
    """Read an image as OpenCV decodes it, EXIF turns applied.

    Args:
        path: The file.
        mode: One of OpenCV's IMREAD modes.

    Returns:
        BGR uint8 [H, W, 3], or what another mode gives.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is no image, or a damaged one; the message names it.
    """
    data = Path(path).read_bytes()
    if not data:
        raise ValueError(f"{path}: no image, the file is empty")
    return decode_bgr(data, str(path), mode)


def decode_bgr(data: bytes, where: str, mode: int = cv2.IMREAD_COLOR) -> np.ndarray:
    """`read_bgr` of bytes at hand.

    Args:
        data: An encoded picture.
        where: Names it in errors.
        mode: An IMREAD mode of OpenCV.

    Returns:
        BGR uint8 [H, W, 3], or what another mode gives.

    Raises:
        ValueError: The bytes are no picture, or a damaged one.
    """
    if _is_cut_short(data):
        raise ValueError(f"{where}: the image is cut short")
    if data.startswith((b"P2", b"P3")):
        data += b"\n"  # OpenCV refuses a text file whose last number ends with the file
    with _quiet_opencv():
        try:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), mode)
        except cv2.error:
            image = None
    if image is None:
        raise ValueError(f"{where}: no image that can be read ({', '.join(s[1:] for s in SUFFIXES)}), or a damaged one")
    return image


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """Read an image; grey ones get three equal channels, alpha is dropped, EXIF turns are applied.

    Args:
        path: The file.

    Returns:
        RGB uint8 [H, W, 3].

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is no image, or a damaged one; the message names it.
    """
    return cv2.cvtColor(read_bgr(path), cv2.COLOR_BGR2RGB)


def read_labels(path: str | os.PathLike[str]) -> np.ndarray:
    """Read the label map of a palette or grey 8-bit picture.

    Args:
        path: The picture.

    Returns:
        The palette's indices, not its colours, or the grey values: uint8 [H, W], as stored.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no such picture, or a damaged one; the message names it.
    """
    try:
        with Image.open(path) as picture:
            picture.load()
            mode, labels = picture.mode, np.array(picture)
    except UnidentifiedImageError as error:
        raise ValueError(f"{path}: no picture that can be read") from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise ValueError(f"{path}: a damaged picture: {error}") from error
    except (SyntaxError, ValueError, Image.DecompressionBombError) as error:  # Pillow's words for a broken PNG
        raise ValueError(f"{path}: a damaged picture: {error}") from error
    if mode not in ("P", "L"):
        raise ValueError(f"{path}: labels are a palette or grey 8-bit picture, this one is {mode}: colours, no labels?")
    return labels


def read_label_map(path: str | os.PathLike[str]) -> Pixels:
    """Read a label map.

    Caffe turns a palette's colours into grey, which makes class 1 a 38: no net wants that.

    Args:
        path: The picture.

    Returns:
        A palette picture's indices, a grey one's values, a colour one's if all channels agree: uint8 [H, W].

    Raises:
        OSError: The file cannot be read.
        ValueError: It is another picture, or a damaged one; the message names it.
    """
    with open(path, "rb") as file:
        head = file.read(26)
    if head.startswith(b"\x89PNG") and head[25:26] == b"\x03":
        return read_labels(path)
    label = read_bgr(path, cv2.IMREAD_UNCHANGED)
    if label.dtype != np.uint8:
        raise ValueError(f"{path}: labels are 8-bit pictures, this one holds {label.dtype}")
    if label.ndim == 3:
        if label.shape[2] < 3 or not (label[..., :1] == label[..., :3]).all():
            raise ValueError(f"{path}: a colour picture, no labels; `deeplab doctor` tells and mends it")
        label = np.ascontiguousarray(label[..., 0])
    return label


def write_image(image: np.ndarray, path: str | os.PathLike[str]) -> None:
    """Write an image.

    Args:
        image: RGB uint8 [H, W, 3] or grey uint8 [H, W].
        path: The file, whose suffix chooses the format (.png, .ppm, .jpg ...).

    Raises:
        ValueError: The array is another one, or the suffix is unknown.
        OSError: The file cannot be written.
    """
    if image.dtype != np.uint8 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)):
        raise ValueError(f"{path}: an image is uint8 [H, W, 3] or [H, W], not {image.dtype} {list(image.shape)}")
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: unknown image format {suffix!r}; known: {', '.join(SUFFIXES)}")
    pixels = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(suffix, pixels)
    with replacing(path) as temporary:
        temporary.write_bytes(encoded.tobytes())


def find_images(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Find images.

    Args:
        paths: Files and folders.

    Returns:
        The files named, and the image files directly inside the folders named, sorted by name.

    Raises:
        FileNotFoundError: A path is missing.
        ValueError: A folder holds no images.
    """
    images: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(entry for entry in path.iterdir() if entry.suffix.lower() in SUFFIXES and entry.is_file())
            if not inside:
                raise ValueError(f"{path}: no images in this folder")
            images += inside
        elif path.exists():
            images.append(path)
        else:
            raise FileNotFoundError(f"{path}: no such file or folder")
    return images
