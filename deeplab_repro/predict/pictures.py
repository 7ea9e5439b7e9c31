"""What is written of segmented images: label maps and overlays, under names of their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeplab_repro.files.images import write_image
from deeplab_repro.files.palette import save_label_png

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


def save_pictures(segmentation: Segmentation, folder: Path, name: str, opacity: float) -> dict[str, Any]:
    """Write NAME.png, the label map with its palette, and NAME_overlay.png, its colours over the image.

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
    write_image(segmentation.overlay(opacity), overlay)
    save_label_png(segmentation.labels, labels, segmentation.palette)
    height, width = segmentation.labels.shape
    names = segmentation.class_names
    shares = {
        names[label] if label < len(names) else str(label): round(share, 6)
        for label, share in segmentation.shares().items()
    }
    return {"height": height, "width": width, "labels": str(labels), "overlay": str(overlay), "shares": shares}
