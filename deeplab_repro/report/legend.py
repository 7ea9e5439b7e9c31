"""Which colour stands for what: a strip of named swatches below a picture."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Entry = tuple[str, tuple[int, int, int]]
SWATCH, GAP, LINE, FONT, LEAST = 12, 6, 20, 0.42, 160
_INK, _PAPER, _FRAME = (51, 51, 51), 255, (160, 160, 160)


def entries(labels: Sequence[int], names: Sequence[str], palette: NDArray[np.uint8], void: str = "void") -> list[Entry]:
    """Names and colours of labels.

    Args:
        labels: The labels, 0 to 255.
        names: Names of the classes; others are called by their number.
        palette: uint8 [256, 3].
        void: What 255 is called where it has no name.

    Returns:
        (name, RGB) of each.

    Example:
        >>> from deeplab_repro.files.palette import voc_palette
        >>> from deeplab_repro.report.legend import entries
        >>> entries([0, 1, 255], ["background", "car"], voc_palette())
        [('background', (0, 0, 0)), ('car', (128, 0, 0)), ('void', (224, 224, 192))]
    """
    called = [names[label] if label < len(names) else void if label == 255 else str(label) for label in labels]
    return [
        (name, (int(palette[label][0]), int(palette[label][1]), int(palette[label][2])))
        for name, label in zip(called, labels, strict=True)
    ]


def with_legend(picture: NDArray[np.uint8], shown: Sequence[Entry]) -> NDArray[np.uint8]:
    """A picture with a legend below it.

    Args:
        picture: RGB uint8 [H, W, 3]; it stays as it is, top left.
        shown: Names and colours, left to right.

    Returns:
        RGB uint8, larger: narrow pictures are widened so that names have room. The picture itself without entries.
    """
    if not shown:
        return picture
    height, width = picture.shape[:2]
    full = max(width, LEAST)
    places, x, y = [], GAP, GAP
    for name, colour in shown:
        text = _ascii(name)
        long = SWATCH + GAP + cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, FONT, 1)[0][0]
        if x > GAP and x + long + GAP > full:
            x, y = GAP, y + LINE
        places.append((text, colour, x, y))
        x += long + 2 * GAP
    result = np.full((height + y + LINE, full, 3), _PAPER, np.uint8)
    result[:height, :width] = picture
    for text, colour, left, top in places:
        corner = (left, height + top)
        opposite = (left + SWATCH, height + top + SWATCH)
        cv2.rectangle(result, corner, opposite, colour, cv2.FILLED)
        cv2.rectangle(result, corner, opposite, _FRAME)
        at = (left + SWATCH + GAP, height + top + SWATCH - 1)
        cv2.putText(result, text, at, cv2.FONT_HERSHEY_SIMPLEX, FONT, _INK, 1, cv2.LINE_AA)
    return result


def _ascii(name: str) -> str:
    """OpenCV's letters are ASCII."""
    return name.encode("ascii", "replace").decode()
