"""Draw the README's picture from the demo's output.

python weights/recipe/draw_picture.py demo-out docs/demo.png [scene ...]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from deeplab_repro.files.atomic import replacing

COLUMNS = {"input": "input", "truth": "truth", "before": "before the CRF", "after": "after the CRF"}
SIZE, GAP, HEAD = (288, 216), 6, 26


def draw(folder: Path, scenes: list[int]) -> Image.Image:
    """A grid, one row a scene, in 256 colours to keep the file small."""
    width = len(COLUMNS) * (SIZE[0] + GAP) + GAP
    grid = Image.new("RGB", (width, HEAD + len(scenes) * (SIZE[1] + GAP)), "white")
    pen, font = ImageDraw.Draw(grid), ImageFont.load_default(15)
    for column, (kind, title) in enumerate(COLUMNS.items()):
        left = GAP + column * (SIZE[0] + GAP)
        pen.text((left + SIZE[0] / 2, HEAD / 2), title, fill="#334e68", font=font, anchor="mm")
        for row, scene in enumerate(scenes):
            with Image.open(folder / f"scene_{scene:02d}_{kind}.png") as picture:
                small = picture.convert("RGB").resize(SIZE, Image.Resampling.LANCZOS)
            grid.paste(small, (left, HEAD + row * (SIZE[1] + GAP)))
    return grid.quantize(256, kmeans=2, dither=Image.Dither.NONE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("demo", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("scenes", type=int, nargs="*", default=[1, 2, 3])
    arguments = parser.parse_args()
    picture = draw(arguments.demo, arguments.scenes)
    with replacing(arguments.output) as temporary:
        picture.save(temporary, optimize=True)


if __name__ == "__main__":
    main()
