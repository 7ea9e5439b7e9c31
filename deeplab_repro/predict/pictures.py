"""What is written of segmented images: label maps and overlays, under names of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deeplab_repro.files.images import write_image
from deeplab_repro.files.palette import save_label_png
from deeplab_repro.report.legend import entries, with_legend

if TYPE_CHECKING:
    from deeplab_repro.predict.segmenter import Segmentation


def distinct_names(files: Sequence[Path]) -> list[str]:
    """A name for each image's pictures: its stem, with its suffix or a number where stems repeat.

    Args:
        files: The images.

    Returns:
        The names, in the images' order.
    """
    names: list[str] = []
    for file in files:
        name = base = file.stem if file.stem not in names else f"{file.stem}_{file.suffix[1:].lower()}"
        number = 2
        while name in names:
            name, number = f"{base}_{number}", number + 1
        names.append(name)
    return names


def legended_overlay(segmentation: Segmentation, opacity: float) -> NDArray[np.uint8]:
    """The colours over the image, and below it which stands for what.

    Args:
        segmentation: What was found.
        opacity: Share of the colours, 0 to 1.

    Returns:
        RGB uint8; its top left part is the overlay.
    """
    shown = entries(list(segmentation.shares()), segmentation.class_names, segmentation.palette)
    return with_legend(segmentation.overlay(opacity), shown)


def save_pictures(segmentation: Segmentation, folder: Path, name: str, opacity: float) -> dict[str, Any]:
    """Write NAME.png, the label map with its palette, and NAME_overlay.png, its colours over the image and below it a
    legend of the classes that occur.

    Args:
        segmentation: What was found.
        folder: Where the pictures go.
        name: What they are called.
        opacity: Share of the colours in the overlay, 0 to 1.

    Returns:
        Height, width, both files, and the share of the pixels by class.

    Raises:
        OSError: A picture cannot be written.
    """
    labels, overlay = folder / f"{name}.png", folder / f"{name}_overlay.png"
    write_image(legended_overlay(segmentation, opacity), overlay)
    save_label_png(segmentation.labels, labels, segmentation.palette)
    height, width = segmentation.labels.shape
    shares = named_shares(segmentation.shares(), segmentation.class_names)
    return {"height": height, "width": width, "labels": str(labels), "overlay": str(overlay), "shares": shares}


def named_shares(shares: Mapping[int, float], names: Sequence[str]) -> dict[str, float]:
    """Shares by the classes' names.

    Args:
        shares: By label.
        names: Of the labels; others are called by their number.

    Returns:
        Shares, rounded to six digits.
    """
    return {names[label] if label < len(names) else str(label): round(share, 6) for label, share in shares.items()}
