"""What stands in the street: trees, poles, signs, fences, people, vehicles."""

from __future__ import annotations

import numpy as np

from deeplab_repro.data.scenes.classes import FENCE, PERSON, POLE, SIGN, VEGETATION, VEHICLE
from deeplab_repro.data.scenes.view import View

LEAVES = ((62, 98, 42), (86, 118, 52), (48, 82, 52), (112, 124, 58), (132, 104, 46))
_PAINTS = ((176, 32, 34), (36, 62, 132), (222, 222, 220), (34, 36, 40), (142, 148, 154), (206, 172, 42), (46, 98, 74))
_CLOTHES = ((184, 44, 52), (40, 70, 150), (222, 196, 70), (236, 236, 232), (40, 40, 46), (90, 150, 160), (156, 84, 140))
_TROUSERS = ((38, 44, 74), (58, 54, 50), (110, 98, 80), (28, 28, 32))
_SKINS = ((228, 186, 158), (196, 144, 108), (126, 84, 60))
_METALS = ((84, 88, 92), (126, 130, 132), (52, 56, 60), (104, 92, 76))
_BOARDS = ((214, 34, 36), (28, 84, 176), (242, 200, 32), (32, 128, 72), (244, 244, 240))


def roadside(view: View) -> float:
    """A place on one of the walks, in camera heights right of the view axis."""
    side = int(view.rng.integers(2))
    inner, outer = view.road_edges[side], view.walk_edges[side]
    return inner + (outer - inner) * view.uniform(0.08, 1.1)


def draw_foliage(view: View, x: float, y: float, radius_x: float, radius_y: float) -> None:
    """Some ragged blobs of leaves around (x, y), darker below."""
    colour = view.pick(LEAVES, 0.2)
    for _ in range(int(view.rng.integers(2, 5))):
        centre = x + radius_x * view.uniform(-0.45, 0.45), y + radius_y * view.uniform(-0.35, 0.35)
        radii = radius_x * view.uniform(0.5, 0.9), radius_y * view.uniform(0.5, 0.9)
        blob = view.canvas.ellipse(*centre, *radii, ragged=0.25)
        shade = np.float32(1.05) - (blob.y - np.float32(y)) * np.float32(0.22 / max(radius_y, 1))
        light = view.uniform(0.85, 1.15)
        view.canvas.paint(blob, [channel * light for channel in colour], VEGETATION, "leaves", shade=shade)  # fmt: skip


def draw_tree(view: View, depth: float) -> None:
    """A tree beside the road; `depth` is the camera's height there, in pixels."""
    x, y = view.ground(roadside(view) * view.uniform(1.0, 1.2), depth)
    trunk, crown = depth * view.uniform(0.6, 1.1), depth * view.uniform(0.45, 0.85)
    bark = view.canvas.line((x, y), (x, y - trunk - crown / 2), depth * 0.13, depth * 0.09)
    view.canvas.paint(bark, view.pick(((92, 72, 54), (70, 62, 56))), VEGETATION, "bark")
    draw_foliage(view, x, y - trunk - crown * 0.7, crown, crown * view.uniform(0.7, 1.1))


def draw_pole(view: View, depth: float, across: float | None = None, rise: float | None = None) -> None:
    """A pole beside the road, sometimes with an arm; `across` and `rise` fix its place and height for a sign."""
    x, y = view.ground(roadside(view) if across is None else across, depth)
    tall = depth * (view.uniform(1.6, 3.2) if rise is None else rise)
    thick = max(depth * view.uniform(0.12, 0.17), 4.5 * view.unit)
    colour = view.pick(_METALS, 0.2)
    shaft = view.canvas.line((x, y), (x + tall * view.uniform(-0.02, 0.02), y - tall), thick, thick * 0.85)
    offset = (shaft.x - np.float32(x)) / np.float32(thick)
    view.canvas.paint(shaft, colour, POLE, shade=np.float32(1.08) - np.float32(0.5) * offset * offset)
    if rise is None and view.chance(0.5):
        arm = depth * view.uniform(0.35, 0.8) * (1 if x < view.vanishing else -1)
        bar = view.canvas.line((x, y - tall), (x + arm, y - tall - abs(arm) * 0.12), thick * 0.9, thick * 0.8)
        view.canvas.paint(bar, colour, POLE)
        lamp = view.canvas.ellipse(x + arm, y - tall - abs(arm) * 0.1, thick * 1.6, thick * 0.8)
        view.canvas.paint(lamp, [channel * 1.1 for channel in colour], POLE)


def draw_sign(view: View, depth: float) -> None:
    """A sign on its pole."""
    across, rise = roadside(view), view.uniform(0.95, 1.4)
    draw_pole(view, depth, across, rise)
    x, y = view.ground(across, depth)
    y, radius = y - depth * rise, depth * view.uniform(0.2, 0.3)
    colour, mark = view.pick(_BOARDS, 0.1), view.pick(((244, 244, 240), (30, 30, 32)), 0.05)
    kind = int(view.rng.integers(3))
    for scale, shown, label in ((1.0, colour, SIGN), (0.55, mark, None)):
        size = radius * scale
        if kind == 0:
            board = view.canvas.ellipse(x, y, size, size)
        elif kind == 1:
            board = view.canvas.polygon([(x, y - size * 1.1), (x + size * 1.1, y + size * 0.8),
                                         (x - size * 1.1, y + size * 0.8)])  # fmt: skip
        else:
            board = view.canvas.box(x - size * 1.2, y - size * 0.8, x + size * 1.2, y + size * 0.8)
        view.canvas.paint(board, shown, label)


def draw_fence(view: View, depth: float) -> None:
    """A fence of upright boards along the kerb, with a rail on top."""
    canvas, side = view.canvas, int(view.rng.integers(2))
    across = view.road_edges[side] + (view.walk_edges[side] - view.road_edges[side]) * view.uniform(0.0, 0.25)
    tall, rail = view.uniform(0.42, 0.58), 0.08
    colour = view.pick((*_METALS, (206, 204, 196), (150, 116, 82)), 0.15)
    near, far = depth * view.uniform(1.0, 1.5), depth * view.uniform(0.35, 0.55)
    (x0, y0), (x1, y1) = view.ground(across, near), view.ground(across, far)
    panel = canvas.polygon([(x0, y0), (x0, y0 - tall * near), (x1, y1 - tall * far), (x1, y1)])
    there = np.maximum((panel.x - np.float32(view.vanishing)) * np.float32(1 / across), np.float32(1))
    board = np.float32(view.reach * view.uniform(4.0, 7.0)) / there
    shade = np.float32(0.84) + np.float32(0.16) * ((board - np.floor(board)) < np.float32(0.72))
    canvas.paint(panel, colour, FENCE, "stone", shade=shade)
    top = canvas.line((x0, y0 - tall * near), (x1, y1 - tall * far), rail * near, rail * far)
    canvas.paint(top, [channel * 1.08 for channel in colour], FENCE)


def draw_person(view: View, depth: float) -> None:
    """A person on a walk, now and then on the road."""
    across = roadside(view) if view.chance(0.8) else view.uniform(*view.road_edges)
    x, y = view.ground(across, depth)
    tall = depth * view.uniform(0.72, 0.86)
    wide, stride = tall * view.uniform(0.15, 0.19), tall * view.uniform(0.02, 0.1)
    legs = view.pick(_TROUSERS, 0.2)
    view.canvas.darken(view.canvas.ellipse(x, y, wide * 1.5, tall * 0.035), 0.72)
    for way in (-1, 1):
        leg = view.canvas.line((x + way * stride, y), (x + way * wide * 0.3, y - tall * 0.5), wide * 0.6, wide * 0.8)
        view.canvas.paint(leg, legs, PERSON)
    coat = view.pick(_CLOTHES, 0.15)
    top, waist = y - tall * 0.84, y - tall * 0.42
    torso = view.canvas.polygon([(x - wide * 0.8, top), (x + wide * 0.8, top), (x + wide, waist), (x - wide, waist)])
    offset = (torso.x - np.float32(x)) / np.float32(wide)
    view.canvas.paint(torso, coat, PERSON, shade=np.float32(1.05) - np.float32(0.18) * offset * offset)
    head = view.canvas.ellipse(x, y - tall * 0.92, tall * 0.075, tall * 0.09)
    view.canvas.paint(head, view.pick(_SKINS), PERSON)
    view.canvas.paint(head.where(head.y + 0 * head.x < y - tall * 0.95), view.pick(_TROUSERS))


def draw_vehicle(view: View, depth: float) -> None:
    """A vehicle on the road, from behind or from the side."""
    x, y = view.ground(view.uniform(*view.road_edges) * 0.85, depth)
    if view.chance(0.5):
        draw_vehicle_rear(view, x, y, depth * view.uniform(0.72, 0.86), depth * view.uniform(0.6, 0.95))
    else:
        draw_vehicle_side(view, x, y, depth * view.uniform(1.5, 2.0), depth * view.uniform(0.58, 0.72))


def draw_vehicle_rear(view: View, x: float, y: float, wide: float, tall: float) -> None:
    """A vehicle from behind; (x, y) is the middle of its foot, `wide` and `tall` its size in pixels."""
    canvas, paint = view.canvas, view.pick(_PAINTS)
    half = wide / 2
    canvas.darken(canvas.ellipse(x, y, half * 1.2, tall * 0.1), 0.5)
    for way in (-1, 1):
        tyre = canvas.box(x + way * half * 0.7 - half * 0.2, y - tall * 0.3, x + way * half * 0.7 + half * 0.2, y)
        canvas.paint(tyre, (26, 26, 28), VEHICLE)
    outline = ((-1, 0.12), (-1, 0.55), (-0.78, 1), (0.78, 1), (1, 0.55), (1, 0.12))
    body = canvas.polygon([(x + half * across, y - tall * up) for across, up in outline])
    shade = np.float32(0.82) + np.float32(0.3 / max(tall, 1)) * (np.float32(y) - body.y)
    canvas.paint(body, paint, VEHICLE, shade=shade)
    glass = canvas.polygon([(x - half * 0.82, y - tall * 0.58), (x - half * 0.68, y - tall * 0.93),
                            (x + half * 0.68, y - tall * 0.93), (x + half * 0.82, y - tall * 0.58)])  # fmt: skip
    canvas.paint(glass, view.pick(((52, 60, 70), (92, 108, 120))), texture="glass")
    for way in (-1, 1):
        light = canvas.box(
            x + way * half * 0.8 - half * 0.15, y - tall * 0.5, x + way * half * 0.8 + half * 0.15, y - tall * 0.4
        )
        canvas.paint(light, (206, 40, 36))
    canvas.paint(canvas.box(x - half * 0.25, y - tall * 0.34, x + half * 0.25, y - tall * 0.24), (226, 224, 210))


def draw_vehicle_side(view: View, x: float, y: float, wide: float, tall: float) -> None:
    """A vehicle from the side; (x, y) is the middle of its foot, `wide` and `tall` its size in pixels."""
    canvas, paint = view.canvas, view.pick(_PAINTS)
    half, way = wide / 2, 1 if view.chance(0.5) else -1
    canvas.darken(canvas.ellipse(x, y, half * 1.05, tall * 0.12), 0.5)
    outline = (
        (-1, 0.16),
        (-0.98, 0.5),
        (-0.74, 0.58),
        (-0.46, 0.98),
        (0.22, 1.0),
        (0.56, 0.6),
        (0.96, 0.5),
        (1, 0.16),
    )
    body = canvas.polygon([(x + way * half * across, y - tall * up) for across, up in outline])
    shade = np.float32(0.8) + np.float32(0.34 / max(tall, 1)) * (np.float32(y) - body.y)
    canvas.paint(body, paint, VEHICLE, shade=shade)
    pane = view.pick(((52, 60, 70), (92, 108, 120)))
    for corners in (
        ((-0.62, 0.6), (-0.4, 0.92), (-0.12, 0.92), (-0.12, 0.6)),
        ((-0.06, 0.6), (-0.06, 0.92), (0.18, 0.92), (0.42, 0.6)),
    ):
        canvas.paint(
            canvas.polygon([(x + way * half * across, y - tall * up) for across, up in corners]),
            pane,
            texture="glass",
        )
    for across in (-0.6, 0.6):
        wheel = canvas.ellipse(x + half * across, y - tall * 0.17, tall * 0.2, tall * 0.2)
        canvas.paint(wheel, (28, 28, 30), VEHICLE)
        canvas.paint(canvas.ellipse(x + half * across, y - tall * 0.17, tall * 0.1, tall * 0.1), (150, 152, 154))
