"""Photographs that lie turned in their files, with word of it, beside the same pixels upright."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from deeplab_repro.files.images import turned, write_image


def write_turned(pixels: np.ndarray, orientation: int, path: Path) -> np.ndarray:
    """Write RGB pixels as a JPEG whose EXIF says that they lie turned; what a viewer shows, RGB [H, W, 3].

    The decoder's own pixels are taken, so that nothing depends on what JPEG loses."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, "JPEG", quality=95, exif=exif)
    stored = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return turned(cv2.cvtColor(stored, cv2.COLOR_BGR2RGB), orientation)


def write_both(pixels: np.ndarray, orientation: int, turned_path: Path, upright_path: Path) -> np.ndarray:
    """Write the turned JPEG, and as another file what it shows; that as an array."""
    shown = write_turned(pixels, orientation, turned_path)
    write_image(shown, upright_path)
    return shown
