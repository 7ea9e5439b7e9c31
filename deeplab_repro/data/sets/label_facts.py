"""What the two files of a sample hold, as far as their faults show in it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deeplab_repro.data.sets.datasets import Sample, SegmentationDataset
from deeplab_repro.files.images import exif_orientation, read_bgr, turned
from deeplab_repro.files.palette import voc_palette

# Lines of void that VOC draws around objects are about five pixels wide.
THIN = 11


@dataclass(frozen=True)
class Finding:
    """What was found in the two files of a sample.

    Args:
        split: The sample's split.
        sample: The sample.
        image_error: Why the image cannot be used, empty where it can.
        label_error: Why the label map cannot be used, empty where it can.
        image_size: (height, width) in pixels, EXIF turns applied; None where it cannot be read.
        label_size: (height, width) in pixels as stored; None where it cannot be read.
        kind: Of the label map: palette, grey, wide (16-bit), grey-rgb (three equal channels) or colour.
        values: Labels that occur, of all kinds but colour.
        strange: RGB colours of a colour-coded map that are no class's.
        orders: (index, label) of all used indices of a palette whose colours are the classes' in another order.
        orientation: Of the image by EXIF, 1 to 8.
        turned: Whether the label map is that of the pixels before they are turned by it; None where nothing tells.
        contacts: Pixels where two objects touch.
        separators: Pixels of thin lines of 0 between two objects.
        bits: Of a pixel of the label map: 1, 2 or 4 for grey levels that readers stretch, else 8.
        lossy: Whether the label map was stored as JPEG.
        digest: Of the image file.
    """

    split: str
    sample: Sample
    image_error: str = ""
    label_error: str = ""
    image_size: tuple[int, int] | None = None
    label_size: tuple[int, int] | None = None
    kind: str = ""
    values: tuple[int, ...] = ()
    strange: tuple[tuple[int, int, int], ...] = ()
    orders: tuple[tuple[int, int], ...] = ()
    orientation: int = 1
    turned: bool | None = False
    contacts: int = 0
    separators: int = 0
    bits: int = 8
    lossy: bool = False
    digest: str = ""


def class_colours(dataset: SegmentationDataset) -> dict[tuple[int, int, int], int]:
    """The label of every colour of a data set, void included.

    Args:
        dataset: The data set.

    Returns:
        Labels by RGB; of classes that share a colour the first.
    """
    palette = voc_palette()
    if dataset.palette:
        palette[: dataset.num_classes] = dataset.palette
    labels = [*dataset.void, *reversed(range(dataset.num_classes))]
    return {tuple(int(channel) for channel in palette[label]): label for label in labels}  # type: ignore[misc]


def class_greys(dataset: SegmentationDataset) -> dict[int, int]:
    """The label behind every grey level that a data set's colours turn into.

    Args:
        dataset: The data set.

    Returns:
        Labels by level, -1 where several have one level. VOC: 75 is class 2, 147 class 15, 220 void, but 38 is 1 or 16,
        and 113 is 3 or 18.
    """
    colours = class_colours(dataset)
    pixels = np.array([list(colours)], np.uint8)
    greys = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[0]
    label_of: dict[int, int] = {}
    for grey, label in zip(greys.tolist(), colours.values(), strict=True):
        label_of[grey] = label if grey not in label_of else -1
    return label_of


def read_raw(path: Path) -> tuple[str, NDArray[np.integer]]:
    """Read a label picture as stored.

    Args:
        path: The picture.

    Returns:
        Its kind, as in `Finding`, and pixels: whole numbers [H, W], or RGB uint8 [H, W, 3] for kind colour.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no picture, a damaged one, or holds other than whole numbers.
    """
    try:
        with Image.open(path) as picture:
            picture.load()
            mode = picture.mode
            if mode in ("RGB", "RGBA", "CMYK", "YCbCr", "PA"):
                pixels = np.array(picture.convert("RGB"))
            else:
                # One bit becomes 0 and 255, as OpenCV and so the other readers have it.
                pixels = np.array(picture.convert("L") if mode in ("1", "LA") else picture)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"no picture that can be read: {error}") from error
    if pixels.ndim == 3:
        if (pixels == pixels[..., :1]).all():
            return "grey-rgb", pixels[..., 0]
        return "colour", pixels
    if not np.issubdtype(pixels.dtype, np.integer):
        raise ValueError(f"holds {pixels.dtype} numbers, no labels")
    return {"P": "palette", "L": "grey", "LA": "grey", "1": "grey"}.get(mode, "wide"), pixels


def grey_bits(path: Path) -> int:
    """How many bits a pixel of a grey picture has.

    Pillow and OpenCV stretch grey levels of fewer than 8 bits over 0..255, so that label 1 of a 1-bit picture is read
    as 255.

    Args:
        path: The picture.

    Returns:
        1, 2 or 4 for such pictures, else 8.

    Source:
        PNG specification, IHDR: bit depth and colour type.
    """
    with open(path, "rb") as file:
        head = file.read(26)
    if head.startswith(b"\x89PNG"):
        return head[24] if head[25] == 0 and head[24] < 8 else 8
    with Image.open(path) as picture:
        return 1 if picture.mode == "1" else 8


def undo_stretch(path: Path, pixels: NDArray[np.integer]) -> NDArray[np.integer]:
    """The labels as stored of a grey picture that was stretched when it was read.

    Args:
        path: The picture.
        pixels: What `read_raw` gave.

    Returns:
        The pixels, divided for pictures of fewer than 8 bits.
    """
    bits = grey_bits(path)
    return pixels if bits == 8 else (pixels // (255 // (2**bits - 1))).astype(pixels.dtype)


def labels_of_colours(pixels: NDArray[np.uint8], colours: dict[tuple[int, int, int], int]) -> NDArray[np.int64]:
    """Look colours up.

    Args:
        pixels: RGB uint8 [H, W, 3].
        colours: Labels by RGB.

    Returns:
        Labels int64 [H, W], -1 where a colour is no class's.
    """
    codes = pixels.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    known = {(r << 16) + (g << 8) + b: label for (r, g, b), label in colours.items()}
    distinct, inverse = np.unique(codes, return_inverse=True)
    table = np.array([known.get(int(code), -1) for code in distinct], np.int64)
    return table[inverse].reshape(codes.shape)


def examine(dataset: SegmentationDataset, sample: Sample) -> Finding:
    """Look at both files of a sample. What they hold raises nothing.

    Args:
        dataset: The sample's data set.
        sample: The sample.

    Returns:
        What was found.
    """
    facts: dict[str, object] = {}
    image = None
    try:
        facts["digest"] = hashlib.sha1(sample.image.read_bytes(), usedforsecurity=False).hexdigest()
        image = read_bgr(sample.image)
        facts["image_size"] = image.shape[:2]
        facts["orientation"] = exif_orientation(sample.image)
    except (OSError, ValueError) as error:
        facts["image_error"] = _reason(error)
    if sample.label is not None:
        try:
            kind, pixels = read_raw(sample.label)
            facts |= _examine_label(dataset, kind, pixels)
            facts["bits"] = grey_bits(sample.label)
            if kind == "palette":
                facts["orders"] = _palette_orders(dataset, sample.label, facts["values"])  # type: ignore[arg-type]
            if image is not None and facts["orientation"] != 1:
                facts["turned"] = _is_turned(image, pixels, int(str(facts["orientation"])))
            facts["lossy"] = sample.label.read_bytes()[:2] == b"\xff\xd8"
        except (OSError, ValueError) as error:
            facts["label_error"] = _reason(error)
    return Finding(dataset.split, sample, **facts)  # type: ignore[arg-type]


def _palette_orders(dataset: SegmentationDataset, path: Path, values: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """(index, label) of all used indices where their colours are the classes', in another order; else nothing."""
    with Image.open(path) as picture:
        palette = np.array(picture.getpalette("RGB") or [], np.int64).reshape(-1, 3)
    colours = class_colours(dataset)
    orders = []
    for value in values:
        colour = tuple(palette[value].tolist()) if value < len(palette) else ()
        if colour not in colours:
            return ()
        orders.append((value, colours[colour]))
    void = set(dataset.void)
    same = all(value == label or {value, label} <= void for value, label in orders)
    return () if same or dataset.from_file is not None else tuple(orders)


def _is_turned(image: NDArray[np.uint8], labels: NDArray[np.integer], orientation: int) -> bool | None:
    """Whether labels [H, W, ...] are of an image's pixels before it was turned by EXIF; None where nothing tells.

    Sizes tell, and where they do not, which way the outlines of the labels lie on edges of the image."""
    size, as_turned = image.shape[:2], turned(labels, orientation)
    if labels.shape[:2] != size or as_turned.shape[:2] != size:
        return True if as_turned.shape[:2] == size else None if labels.shape[:2] != size else False
    grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), (3, 3), 0).astype(np.float32)
    edges = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    as_is, other = (_mean_at_outlines(edges, lying) for lying in (labels, as_turned))
    if max(as_is, other) <= 1.1 * min(as_is, other):
        return None
    return bool(other > as_is)


def _mean_at_outlines(edges: NDArray[np.float32], labels: NDArray[np.integer]) -> float:
    """The mean of edges [H, W] where labels change."""
    flat = labels.reshape(*labels.shape[:2], -1)
    change = np.zeros(edges.shape, bool)
    change[1:] |= (flat[1:] != flat[:-1]).any(-1)
    change[:, 1:] |= (flat[:, 1:] != flat[:, :-1]).any(-1)
    return float(edges[change].mean()) if change.any() else 0.0


def _reason(error: Exception) -> str:
    return str(error.strerror or error) if isinstance(error, OSError) else str(error)


def _examine_label(dataset: SegmentationDataset, kind: str, pixels: NDArray[np.integer]) -> dict[str, object]:
    facts: dict[str, object] = {"kind": kind, "label_size": pixels.shape[:2]}
    if kind == "colour":
        labels = labels_of_colours(pixels.astype(np.uint8), class_colours(dataset))
        odd = np.unique(pixels[labels < 0].reshape(-1, 3), axis=0)[:5]
        facts["strange"] = tuple(tuple(int(channel) for channel in colour) for colour in odd)
        return facts
    facts["values"] = tuple(int(value) for value in np.unique(pixels))
    if dataset.from_file is None and kind != "wide":
        facts["contacts"], facts["separators"] = _thin_lines(pixels.astype(np.uint8))
    return facts


def _thin_lines(labels: NDArray[np.uint8]) -> tuple[int, int]:
    """Pixels where two different labels other than 0 touch, and pixels of thin lines of 0 that part two of them."""
    contacts = 0
    for a, b in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
        contacts += int(((a != b) & (a > 0) & (b > 0)).sum())
    return contacts, int(parting_lines(labels).sum())


def parting_lines(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Find thin lines of 0 with two different other labels near.

    Args:
        labels: uint8 [H, W].

    Returns:
        Where they are, bool [H, W].
    """
    zero = (labels == 0).astype(np.uint8)
    kernel = np.ones((THIN, THIN), np.uint8)
    # The opening of a padded mask: what touches the picture's edge may go on beyond it.
    padded = cv2.copyMakeBorder(zero, THIN, THIN, THIN, THIN, cv2.BORDER_REPLICATE)
    wide = cv2.morphologyEx(padded, cv2.MORPH_OPEN, kernel)[THIN:-THIN, THIN:-THIN]
    highest = cv2.dilate(labels, kernel)
    lowest = cv2.erode(np.where(labels == 0, 255, labels).astype(np.uint8), kernel)
    return (zero > 0) & (wide == 0) & (highest > lowest) & (lowest < 255)


def repeated(findings: Iterable[Finding]) -> list[Finding]:
    """Find images listed more than once, by their files: other folders may hold the same names.

    Args:
        findings: Of one split.

    Returns:
        Those whose image was listed before.
    """
    seen: set[Path] = set()
    again = []
    for finding in findings:
        if finding.sample.image in seen:
            again.append(finding)
        seen.add(finding.sample.image)
    return again


def overlap(mine: Iterable[Finding], others: Iterable[Finding]) -> list[Finding]:
    """Find images of one split in another, as the same file or as a copy of it.

    Args:
        mine: Of the one.
        others: Of the other.

    Returns:
        Those of `mine` whose image is among `others`.
    """
    others = list(others)
    files, digests = (
        {finding.sample.image for finding in others},
        {finding.digest for finding in others if finding.digest},
    )
    return [finding for finding in mine if finding.sample.image in files or finding.digest in digests]
