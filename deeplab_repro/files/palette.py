"""Colours for label maps: the VOC colour map, palette PNGs, overlays."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from deeplab_repro.files.atomic import replacing


def voc_palette(n: int = 256) -> NDArray[np.uint8]:
    """The PASCAL VOC colour map.

    Colour i spreads the bits of i, lowest first, over red, green, blue, starting at the channels' highest bits.

    Args:
        n: How many colours.

    Returns:
        RGB uint8 [n, 3].

    Raises:
        ValueError: n is outside 0..256.

    Source:
        VOClabelcolormap.m of the PASCAL VOC development kit.

    Example:
        >>> from deeplab_repro.files.palette import voc_palette
        >>> voc_palette(3).tolist()
        [[0, 0, 0], [128, 0, 0], [0, 128, 0]]
    """
    if not 0 <= n <= 256:
        raise ValueError(f"voc_palette: n must lie in 0..256, got {n}")
    index = np.arange(n)[:, None]
    colours = np.zeros((n, 3), np.int64)
    for level in range(8):
        colours |= ((index >> (3 * level + np.arange(3))) & 1) << (7 - level)
    return colours.astype(np.uint8)


def save_label_png(labels: ArrayLike, path: str | os.PathLike[str], palette: ArrayLike | None = None) -> None:
    """Write labels as an 8-bit PNG with a palette. Nothing half-written is left behind.

    Args:
        labels: Integers 0..255 [H, W].
        path: The file.
        palette: RGB [n <= 256, 3], VOC's by default. One shorter than 256 colours is completed with VOC's, so that 255
            (ignore) keeps its cream colour.

    Raises:
        ValueError: Labels or palette have another shape or values that do not fit.
        OSError: The file cannot be written.
    """
    image = Image.fromarray(_as_labels(labels, "save_label_png"))
    image.putpalette(_full_palette(palette, "save_label_png").tobytes())
    with replacing(path) as temporary:
        image.save(temporary, format="PNG")


def colorize(labels: ArrayLike, palette: ArrayLike | None = None) -> NDArray[np.uint8]:
    """Colour labels.

    Args:
        labels: Integers 0..255 [H, W].
        palette: As of `save_label_png`.

    Returns:
        RGB uint8 [H, W, 3].

    Raises:
        ValueError: As of `save_label_png`.
    """
    return _full_palette(palette, "colorize")[_as_labels(labels, "colorize")]


def overlay(
    image: NDArray[np.uint8], labels: ArrayLike, alpha: float = 0.5, palette: ArrayLike | None = None
) -> NDArray[np.uint8]:
    """Lay the labels' colours over an image.

    Args:
        image: RGB uint8 [H, W, 3].
        labels: Integers 0..255 [H, W].
        alpha: Opacity, 0..1.
        palette: As of `save_label_png`.

    Returns:
        RGB uint8 [H, W, 3].

    Raises:
        ValueError: The sizes differ, alpha is outside, or as of `save_label_png`.
    """
    colours = colorize(labels, palette)
    if image.shape != colours.shape:
        raise ValueError(f"overlay: image {list(image.shape)} and labels {list(colours.shape[:2])} differ in size")
    if not 0 <= alpha <= 1:
        raise ValueError(f"overlay: alpha must lie in 0..1, got {alpha}")
    mixed = image * np.float32(1 - alpha) + colours * np.float32(alpha)
    return (mixed + np.float32(0.5)).astype(np.uint8)


def _as_labels(labels: ArrayLike, caller: str) -> NDArray[np.uint8]:
    values = np.asarray(labels)
    if values.ndim != 2:
        raise ValueError(f"{caller}: labels must be [H, W], got {list(values.shape)}")
    if values.dtype == np.uint8:
        return values
    if not np.issubdtype(values.dtype, np.integer):
        raise ValueError(f"{caller}: labels must be integers, got {values.dtype}")
    if values.size and (values.min() < 0 or values.max() > 255):
        raise ValueError(f"{caller}: labels must lie in 0..255, got {values.min()}..{values.max()}")
    return values.astype(np.uint8)


def _full_palette(palette: ArrayLike | None, caller: str) -> NDArray[np.uint8]:
    full = voc_palette()
    if palette is not None:
        given = np.asarray(palette)
        if given.ndim != 2 or given.shape[1] != 3 or len(given) > 256:
            raise ValueError(f"{caller}: palette must be [n <= 256, 3], got {list(given.shape)}")
        full[: len(given)] = given
    return full
