"""Deterministic labelled street scenes, drawn with numpy from a seed."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from deeplab_repro.data.scenes import objects, street
from deeplab_repro.data.scenes.classes import CLASSES, PALETTE, THIN
from deeplab_repro.data.scenes.view import View

__all__ = ["CLASSES", "PALETTE", "THIN", "benchmark_scene", "draw_scene"]

_SOFTNESS = 0.18
_NOISE = 5.0  # grey levels either way
# Chosen for the lattice's vertex count; see benchmark_scene.
_BENCHMARK_NOISE = {"smooth": 0.75, "busy": 13.8}

# Kind: where its share of the draws begins, least depth as a share of the view, how it is drawn.
_OBJECTS = (
    (0.0, 0.24, objects.draw_vehicle),
    (0.18, 0.5, objects.draw_person),
    (0.42, 0.36, objects.draw_pole),
    (0.61, 0.4, objects.draw_sign),
    (0.77, 0.44, objects.draw_fence),
    (0.9, 0.24, objects.draw_tree),
)


def draw_scene(seed: int, height: int = 240, width: int = 320) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw a scene. The same seed and size give the same bytes on every machine.

    Args:
        seed: Which scene.
        height: In pixels.
        width: In pixels.

    Returns:
        The image, RGB uint8 [height, width, 3], and labels, uint8 [height, width], indices of CLASSES.

    Raises:
        ValueError: The seed is negative or the size below one pixel.

    Example:
        >>> from deeplab_repro.data.scenes.scenes import draw_scene
        >>> image, labels = draw_scene(0, 60, 80)
        >>> image.shape, labels.shape
        ((60, 80, 3), (60, 80))
    """
    view = _draw(seed, height, width, "draw_scene")
    return view.develop(_NOISE, _SOFTNESS), view.canvas.labels


def benchmark_scene(seed: int, height: int, width: int, kind: str = "smooth") -> NDArray[np.uint8]:
    """Draw an image that loads a dense CRF as a photograph does.

    Args:
        seed: Which scene.
        height: In pixels.
        width: In pixels.
        kind: At 375x500 with bilateral stds of 67 pixels and 3 grey levels, "smooth" has about 0.26 permutohedral
            lattice vertices a pixel (as CamVid frames have) and "busy" about 1.9 (as VOC photographs have).

    Returns:
        RGB uint8 [height, width, 3].

    Raises:
        ValueError: The kind is another one, the seed negative or the size below one pixel.
    """
    if kind not in _BENCHMARK_NOISE:
        raise ValueError(f"benchmark_scene: kind must be one of {', '.join(_BENCHMARK_NOISE)}, got {kind!r}")
    return _draw(seed, height, width, "benchmark_scene").develop(_BENCHMARK_NOISE[kind], _SOFTNESS)


def _draw(seed: int, height: int, width: int, caller: str) -> View:
    if seed < 0 or height < 1 or width < 1:
        raise ValueError(f"{caller}: want seed >= 0 and a size of at least 1x1, got seed {seed}, {height}x{width}")
    view = View(np.random.Generator(np.random.PCG64(seed)), height, width)
    street.draw_sky(view)
    street.draw_skyline(view)
    street.draw_ground(view)
    for side in (0, 1):
        street.draw_street_side(view, side)
    for depth, kind in sorted(_place_object(view) for _ in range(int(view.rng.integers(11, 17)))):
        _OBJECTS[kind][2](view, depth)
    return view


def _place_object(view: View) -> tuple[float, int]:
    """Depth and kind of one object; kinds whose far specimens would be specks keep a least depth."""
    drawn = float(view.rng.random())
    kind = max(index for index, (share, _, _) in enumerate(_OBJECTS) if drawn >= share)
    share = view.uniform(0.22, 0.97)
    return view.reach * max(share * math.sqrt(share), _OBJECTS[kind][1]), kind
