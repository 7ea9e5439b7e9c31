"""A painter's canvas with an image and its label map, and the shapes that scenes are made of.

Only the four arithmetic operations, square roots and integer work are used on arrays, each a separate numpy
call: those are exactly rounded on every machine, so a seed gives the same bytes everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]
Point = tuple[float, float]
Colour = Sequence[float]

# Amplitude of coarse, medium and single-pixel noise, as a share of the colour.
TEXTURES = {
    "flat": (0.03, 0.02, 0.03),
    "stone": (0.07, 0.03, 0.05),
    "glass": (0.02, 0.1, 0.03),
    "bark": (0.0, 0.14, 0.12),
    "leaves": (0.15, 0.2, 0.15),
    "plain": (0.0, 0.0, 0.0),
}
_TEXTURE_INDEX = {name: index for index, name in enumerate(TEXTURES)}


def value_noise(rng: np.random.Generator, height: int, width: int, cell: float) -> Array:
    """Smooth noise [height, width] in [-1, 1]: random values at a grid of `cell` pixels, bilinear in between."""
    rows, row_part = _grid_positions(height, cell)
    columns, column_part = _grid_positions(width, cell)
    grid = rng.random((rows[-1] + 2, columns[-1] + 2), dtype=np.float32) * np.float32(2) - np.float32(1)
    across = grid[:, columns] + (grid[:, columns + 1] - grid[:, columns]) * column_part
    return cast("Array", across[rows] + (across[rows + 1] - across[rows]) * row_part[:, None])


def _grid_positions(size: int, cell: float) -> tuple[NDArray[np.intp], Array]:
    position = np.arange(size, dtype=np.float32) / np.float32(max(cell, 1.0))
    index = position.astype(np.intp)
    part = position - index.astype(np.float32)
    return index, part * part * (np.float32(3) - np.float32(2) * part)


@dataclass(frozen=True)
class Patch:
    """A mask on the canvas whose top left pixel is (top, left); x and y are pixel centres."""

    top: int
    left: int
    mask: Mask  # [h, w]
    x: Array  # [1, w]
    y: Array  # [h, 1]

    @property
    def slices(self) -> tuple[slice, slice]:
        """The rows and columns of the canvas that the mask covers."""
        height, width = self.mask.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    def where(self, condition: Mask) -> Patch:
        """The same patch narrowed to pixels that also meet `condition` [h, w]."""
        return Patch(self.top, self.left, self.mask & condition, self.x, self.y)


class Canvas:
    """Labels [H, W] uint8 and, for each pixel, what was painted there last and how brightly; `image` mixes the colours.

    Painting stores an index and a factor, which is much cheaper than colouring pixels that are covered again.
    """

    def __init__(self, rng: np.random.Generator, height: int, width: int, unit: float) -> None:
        self.labels = np.zeros((height, width), np.uint8)
        self.coarse = value_noise(rng, height, width, 28 * unit)
        self.medium = value_noise(rng, height, width, 6 * unit)
        self._fine = rng.random((height, width), dtype=np.float32) * np.float32(2) - np.float32(1)
        self._light = np.ones((height, width), np.float32)
        self._coat = np.zeros((height, width), np.uint16)
        self._colours: list[Colour] = [(0.0, 0.0, 0.0)]  # coat 0 stands for the backdrop
        self._textures: list[int] = [_TEXTURE_INDEX["plain"]]
        self.backdrop = np.zeros((height, width, 3), np.float32)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.labels.shape[0], self.labels.shape[1]

    def patch(self, left: float, top: float, right: float, bottom: float) -> Patch:
        """The box, clipped to the canvas (maybe empty), with a full mask."""
        height, width = self.size
        x0, x1 = (int(min(max(value, 0.0), width)) for value in (left, right + 1))
        y0, y1 = (int(min(max(value, 0.0), height)) for value in (top, bottom + 1))
        x1, y1 = max(x0, x1), max(y0, y1)
        x = np.arange(x0, x1, dtype=np.float32)[None] + np.float32(0.5)
        y = np.arange(y0, y1, dtype=np.float32)[:, None] + np.float32(0.5)
        return Patch(y0, x0, np.ones((y1 - y0, x1 - x0), np.bool_), x, y)

    def box(self, left: float, top: float, right: float, bottom: float) -> Patch:
        """Pixels whose centre lies in the box."""
        patch = self.patch(left, top, right, bottom)
        return patch.where((patch.x >= left) & (patch.x < right) & (patch.y >= top) & (patch.y < bottom))

    def polygon(self, points: Sequence[Point]) -> Patch:
        """Pixels whose centre lies inside the polygon (even-odd rule)."""
        xs, ys = [x for x, _ in points], [y for _, y in points]
        patch = self.patch(min(xs), min(ys), max(xs), max(ys))
        inside = np.zeros_like(patch.mask)
        for (x0, y0), (x1, y1) in zip(points, [*points[1:], points[0]], strict=True):
            if y0 == y1:
                continue
            crossed = (patch.y >= min(y0, y1)) & (patch.y < max(y0, y1))
            crossing = np.float32(x0) + (patch.y - np.float32(y0)) * np.float32((x1 - x0) / (y1 - y0))
            inside ^= crossed & (patch.x < crossing)
        return patch.where(inside)

    def ellipse(self, x: float, y: float, radius_x: float, radius_y: float, ragged: float = 0.0) -> Patch:
        """An ellipse; `ragged` moves its edge by that share of the radius, following the noise fields."""
        reach = 1 + ragged
        patch = self.patch(x - radius_x * reach, y - radius_y * reach, x + radius_x * reach, y + radius_y * reach)
        across = (patch.x - np.float32(x)) / np.float32(max(radius_x, 1e-3))
        down = (patch.y - np.float32(y)) / np.float32(max(radius_y, 1e-3))
        distance = across * across + down * down
        if ragged:
            distance = distance + np.float32(2 * ragged) * self.medium[patch.slices]
        return patch.where(distance < 1)

    def line(self, start: Point, end: Point, start_width: float, end_width: float) -> Patch:
        """A straight bar from `start` to `end` whose width changes linearly."""
        (x0, y0), (x1, y1) = start, end
        length = max(math.sqrt((x1 - x0) * (x1 - x0) + (y1 - y0) * (y1 - y0)), 1e-6)
        across, down = -(y1 - y0) / length / 2, (x1 - x0) / length / 2
        a, b = start_width, end_width
        return self.polygon([(x0 + across * a, y0 + down * a), (x1 + across * b, y1 + down * b),
                             (x1 - across * b, y1 - down * b), (x0 - across * a, y0 - down * a)])  # fmt: skip

    def paint(self, patch: Patch, colour: Colour, label: int | None = None, texture: str = "flat",
              shade: Array | None = None) -> None:  # fmt: skip
        """Lay `colour`, made lighter and darker by the texture and by `shade` (a factor, broadcast to the patch),
        on the patch's pixels and give them `label`; label None leaves labels as they are."""
        where = patch.slices
        np.copyto(self._coat[where], np.uint16(len(self._colours)), where=patch.mask)
        np.copyto(self._light[where], np.float32(1) if shade is None else shade, where=patch.mask)
        if label is not None:
            np.copyto(self.labels[where], np.uint8(label), where=patch.mask)
        self._colours.append(colour)
        self._textures.append(_TEXTURE_INDEX[texture])

    def darken(self, patch: Patch, factor: float) -> None:
        """Multiply the brightness below the patch, as a shadow does; labels stay."""
        view = self._light[patch.slices]
        np.multiply(view, np.float32(factor), out=view, where=patch.mask)

    def image(self) -> Array:
        """The picture so far [H, W, 3], 0..255, not clipped."""
        amounts = np.array(list(TEXTURES.values()), np.float32)[self._textures]  # [coats, 3]
        light = np.ones(self.size, np.float32)
        for field, amount in zip((self.coarse, self.medium, self._fine), amounts.T, strict=True):
            light += field * np.take(amount, self._coat)
        light *= self._light
        image = np.take(np.asarray(self._colours, np.float32), self._coat, axis=0)
        np.copyto(image, self.backdrop, where=(self._coat == 0)[..., None])
        return image * light[..., None]
