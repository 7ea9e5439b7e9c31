"""Draw the README's picture from the demo's output.

python weights/recipe/draw_picture.py demo-out docs/demo.png [photograph ...]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from deeplab_repro.files.atomic import replacing

COLUMNS = {"input": "photograph", "before": "the network", "after": "after the CRF", "overlay": "overlay"}
WIDTH, GAP, HEAD = 240, 6, 26


def draw(folder: Path, names: list[str]) -> Image.Image:
    """A grid, one row a photograph, in 256 colours to keep the file small."""
    rows = [[_opened(folder / f"{name}_{kind}.png") for kind in COLUMNS] for name in names]
    height = HEAD + sum(row[0].height + GAP for row in rows)
    grid = Image.new("RGB", (len(COLUMNS) * (WIDTH + GAP) + GAP, height), "white")
    pen, font, top = ImageDraw.Draw(grid), ImageFont.load_default(15), HEAD
    for column, title in enumerate(COLUMNS.values()):
        pen.text((GAP + column * (WIDTH + GAP) + WIDTH / 2, HEAD / 2), title, fill="#334e68", font=font, anchor="mm")
    for row in rows:
        for column, picture in enumerate(row):
            grid.paste(picture, (GAP + column * (WIDTH + GAP), top))
        top += row[0].height + GAP
    return grid.quantize(256, kmeans=2, dither=Image.Dither.FLOYDSTEINBERG)


def _opened(file: Path) -> Image.Image:
    with Image.open(file) as picture:
        size = WIDTH, round(picture.height * WIDTH / picture.width)
        return picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("demo", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("names", nargs="*", default=["cat", "astronaut"])
    arguments = parser.parse_args()
    picture = draw(arguments.demo, arguments.names)
    with replacing(arguments.output) as temporary:
        picture.save(temporary, optimize=True)


if __name__ == "__main__":
    main()
