"""The camera of a scene: its geometry, its random choices, and how the canvas becomes a photograph."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deeplab_repro.data.scenes.canvas import Array, Canvas, Colour, value_noise


class View:
    """A pinhole view down a street, and a canvas for it.

    A ground position is given by its depth below the horizon in pixels, which is also the scale there: what is h camera
    heights tall stands h * depth pixels high. Positions across the street are in camera heights from the view axis.
    """

    def __init__(self, rng: np.random.Generator, height: int, width: int) -> None:
        self.rng = rng
        self.height, self.width = height, width
        self.unit = min(height / 240, width / 240)
        self.canvas = Canvas(rng, height, width, self.unit)
        self.horizon = height * self.uniform(0.34, 0.5)
        self.vanishing = width * self.uniform(0.3, 0.7)
        self.reach = height - self.horizon  # depth of the bottom row
        self.road_edges = (-self.uniform(0.75, 1.5), self.uniform(0.75, 1.5))  # per depth
        self.walk_edges = (self.road_edges[0] - self.uniform(0.5, 1.0), self.road_edges[1] + self.uniform(0.5, 1.0))

    def uniform(self, low: float, high: float) -> float:
        """A random number between the two."""
        return low + (high - low) * float(self.rng.random())

    def chance(self, probability: float) -> bool:
        """Whether something of that probability happens."""
        return float(self.rng.random()) < probability

    def pick(self, colours: tuple[Colour, ...], spread: float = 0.12) -> list[float]:
        """One of the colours, with its brightness and each channel varied."""
        base = colours[int(self.rng.integers(len(colours)))]
        light = self.uniform(1 - spread, 1 + spread)
        return [channel * light * self.uniform(1 - spread / 3, 1 + spread / 3) for channel in base]

    def ground(self, across: float, depth: float) -> tuple[float, float]:
        """Image position (x, y) of the ground point `across` camera heights right of the view axis."""
        return self.vanishing + across * depth, self.horizon + depth

    def develop(self, noise: float, softness: float) -> NDArray[np.uint8]:
        """The canvas as a photograph: uneven light, colour cast, a slightly soft lens, sensor noise."""
        image = self.canvas.image()
        light = np.float32(self.uniform(0.82, 1.1)) + np.float32(0.06) * value_noise(
            self.rng, self.height, self.width, 90 * self.unit)  # fmt: skip
        cast = np.array([self.uniform(0.95, 1.05) for _ in range(3)], np.float32)
        image = image * light[..., None] * cast
        for axis in (0, 1):
            image = self.soften(image, axis, np.float32(softness))
        grain = self.rng.random(image.shape, dtype=np.float32) - np.float32(0.5)
        image += grain * np.float32(noise * 2)
        image += np.float32(0.5)
        return np.clip(image, 0, 255).astype(np.uint8)

    @staticmethod
    def soften(image: Array, axis: int, share: np.float32) -> Array:
        """Give each of a pixel's two neighbours along `axis` that share of the pixel; edges keep their own."""
        step = (image.swapaxes(0, axis)[1:] - image.swapaxes(0, axis)[:-1]) * share
        out = image.copy().swapaxes(0, axis)
        out[:-1] += step
        out[1:] -= step
        return out.swapaxes(0, axis)
