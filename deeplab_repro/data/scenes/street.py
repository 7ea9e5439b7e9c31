"""The street itself: sky, skyline, ground, facades."""

from __future__ import annotations

import itertools

import numpy as np

from deeplab_repro.data.scenes.canvas import Array, Colour, Patch
from deeplab_repro.data.scenes.classes import BUILDING, ROAD, SIDEWALK, SKY, VEGETATION
from deeplab_repro.data.scenes.objects import LEAVES, draw_foliage
from deeplab_repro.data.scenes.view import View

_SKIES = (((96, 148, 214), (190, 212, 232)), ((168, 176, 186), (206, 208, 208)), ((120, 140, 182), (240, 204, 168)))
_ROADS = ((92, 92, 96), (112, 108, 104), (74, 78, 86), (128, 126, 124))
_PAVEMENTS = ((166, 158, 150), (150, 128, 116), (142, 146, 148), (184, 172, 150))
_WALLS = ((158, 92, 72), (206, 188, 158), (150, 150, 152), (222, 214, 204), (116, 122, 136), (184, 146, 104),
          (132, 98, 90))  # fmt: skip


def draw_sky(view: View) -> None:
    """The sky, with or without clouds."""
    canvas = view.canvas
    high, low = (np.asarray(colour, np.float32) for colour in _SKIES[int(view.rng.integers(len(_SKIES)))])
    light = np.float32(view.uniform(0.9, 1.08))
    sky = canvas.patch(0, 0, view.width, view.horizon + 1)
    part = np.minimum(sky.y / np.float32(max(view.horizon, 1)), np.float32(1))[..., None]
    cloud = canvas.coarse[sky.slices] + np.float32(0.35) * canvas.medium[sky.slices]
    cloud = np.float32(0.8) * np.clip(cloud - np.float32(view.uniform(-0.1, 0.5)), 0, 1)[..., None]
    colour = high + part * (low - high)
    canvas.backdrop[sky.slices] = (colour + (np.float32(235) - colour) * cloud) * light
    canvas.labels[:] = SKY


def draw_skyline(view: View) -> None:
    """What stands at the street's far end."""
    left = 0.0
    while left < view.width:
        span = view.width * view.uniform(0.1, 0.24)
        rise = view.reach * view.uniform(0.08, 0.3)
        if view.chance(0.45):
            draw_foliage(view, left + span / 2, view.horizon - rise * 0.3, span * 0.6, rise * 0.7)
        elif view.chance(0.85):
            draw_front(view, left, view.horizon - rise, left + span, view.horizon + 2, view.pick(_WALLS), 7 * view.unit)
        left += span * view.uniform(0.6, 1.1)


def draw_ground(view: View) -> None:
    """Road, kerbs and walks, up to the horizon."""
    canvas, below = view.canvas, view.height + 2.0
    ground = canvas.patch(0, view.horizon, view.width, view.height)
    canvas.paint(ground, view.pick(LEAVES), VEGETATION, "leaves")
    depth = below - view.horizon
    strips = ((view.walk_edges, _PAVEMENTS, SIDEWALK), (view.road_edges, _ROADS, ROAD))
    for edges, colours, label in strips:
        strip = canvas.polygon([(view.vanishing - 1, view.horizon), (view.vanishing + 1, view.horizon),
                                view.ground(edges[1], depth), view.ground(edges[0], depth)])  # fmt: skip
        colour = view.pick(colours)
        canvas.paint(strip, colour, label, "stone")
        if label == SIDEWALK:
            draw_joints(view, strip, colour)
    draw_lane_marks(view, depth)


def draw_joints(view: View, walk: Patch, colour: Colour) -> None:
    """The joints between a walk's slabs."""
    depth = np.maximum(walk.y - np.float32(view.horizon), np.float32(0.5))
    rows = np.float32(view.uniform(5, 9)) * np.float32(view.reach) / depth
    joints = (rows - np.floor(rows)) < np.float32(0.12)
    far = depth > np.float32(view.reach * 0.25)
    view.canvas.paint(walk.where(joints & far), [channel * 0.86 for channel in colour])


def draw_lane_marks(view: View, depth: float) -> None:
    """The marks between the road's lanes."""
    middle = (view.road_edges[0] + view.road_edges[1]) / 2
    paint = view.pick(((232, 230, 220), (222, 196, 96)))
    near = 1.0
    while near > 0.08:
        far = near * view.uniform(0.7, 0.8)
        corners = [view.ground(middle + shift, depth * end) for shift, end in
                   ((-0.04, far), (0.04, far), (0.04, near), (-0.04, near))]  # fmt: skip
        view.canvas.paint(view.canvas.polygon(corners), paint)
        near = far * 0.8


def draw_street_side(view: View, side: int) -> None:
    """Facades along the street, far ones first; gaps show trees and sky."""
    across = view.walk_edges[side] + (1 if side else -1) * view.uniform(0.0, 0.5)
    ends = [view.reach * view.uniform(1.2, 2.2)]
    while ends[-1] > view.reach * 0.07:
        ends.append(ends[-1] * view.uniform(0.42, 0.72))
    for near, far in reversed(list(itertools.pairwise(ends))):
        if view.chance(0.68):
            draw_facade(view, across, near, far)
        elif view.chance(0.6):
            x, y = view.ground(across * 1.1, (near + far) / 2)
            size = (near + far) / 2 * view.uniform(0.5, 0.9)
            draw_foliage(view, x, y - size * 0.6, size, size * 0.8)


def draw_facade(view: View, across: float, near: float, far: float) -> None:
    """The wall of a house along the street, from `near` to `far`."""
    storeys = int(view.rng.integers(1, 5))
    rise = (1.0 + 1.35 * storeys) * view.uniform(0.9, 1.1)  # per depth
    (x_near, y_near), (x_far, y_far) = view.ground(across, near), view.ground(across, far)
    wall = view.canvas.polygon([(x_near, y_near), (x_near, y_near - rise * near), (x_far, y_far - rise * far),
                                (x_far, y_far)])  # fmt: skip
    part = (wall.x - np.float32(x_far)) / np.float32((x_near - x_far) or 1)
    depth = np.maximum(np.float32(far) + part * np.float32(near - far), np.float32(0.5))
    up = (np.float32(view.horizon) + depth - wall.y) / (depth * np.float32(rise))
    columns = max(round(view.uniform(2.5, 5.0) * (near / far - 1)), 2)
    along = (np.float32(1) / depth - np.float32(1 / near)) * np.float32(columns / (1 / far - 1 / near))
    finish_wall(
        view, wall, view.pick(_WALLS), up * np.float32(storeys) - np.float32(0.05), along, view.uniform(0.75, 1)
    )
    if view.chance(0.3):
        front = across * view.uniform(1.5, 2.5)
        x_back = view.vanishing + front * far
        draw_front(view, min(x_far, x_back), y_far - rise * far * 0.97, max(x_far, x_back), y_far,
                        view.pick(_WALLS), far * 0.6)  # fmt: skip


def draw_front(view: View, left: float, top: float, right: float, bottom: float, colour: Colour, cell: float) -> None:
    """A wall seen head-on, with windows every `cell` pixels."""
    wall = view.canvas.box(left, top, right, bottom)
    cell = max(cell, 3.0)
    up = (np.float32(bottom) - wall.y) / np.float32(cell * 1.2) + np.zeros_like(wall.x)
    finish_wall(view, wall, colour, up, (wall.x - np.float32(left)) / np.float32(cell) + np.zeros_like(wall.y), 1.0)


def finish_wall(view: View, wall: Patch, colour: Colour, row: Array, column: Array, light: float) -> None:
    """Paint wall and windows; one window a unit of `row` and of `column`."""
    view.canvas.paint(wall, [channel * light for channel in colour], BUILDING, "stone")
    high, wide = view.uniform(0.4, 0.65), view.uniform(0.35, 0.7)
    y_part, x_part = row - np.floor(row), column - np.floor(column)
    glass = (y_part > 0.25) & (y_part < 0.25 + high) & (x_part > 0.5 - wide / 2) & (x_part < 0.5 + wide / 2)
    pane = view.pick(((62, 72, 88), (40, 44, 52), (150, 172, 190), (96, 104, 106)))
    view.canvas.paint(wall.where(glass), [channel * light for channel in pane], texture="glass")
