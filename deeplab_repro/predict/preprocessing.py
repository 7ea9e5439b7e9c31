"""What rides along with weights: mean, scale, CRF parameters, class names and colours, and where they are read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from deeplab_repro.files.shipped import shipped
from deeplab_repro.zoo.training import MEAN_BGR

if TYPE_CHECKING:
    from deeplab_repro.crf.model import CRFParams
    from prototxt_import import NetSpec

# Models that come with the package, by the name of their files; "bundled" is the first.
MODELS = ("animals", "streets", "scenes")


@dataclass(frozen=True)
class Preprocessing:
    """What rides along with weights: the image mean, and where known CRF parameters, class names and colours.

    Args:
        mean_bgr: What is subtracted from blue, green and red, in grey levels.
        scale: Factor after subtracting the mean.
        crf: The CRF's parameters, or None.
        class_names: Names of the labels, or none.
        palette: Rows of RGB values 0..255, or None for the VOC colours.

    Example:
        >>> from deeplab_repro.predict.preprocessing import Preprocessing
        >>> Preprocessing.of({"mean_bgr": [104, 117, 123], "scale": 0.017}).mean_bgr
        (104.0, 117.0, 123.0)
    """

    mean_bgr: tuple[float, float, float] = MEAN_BGR
    scale: float = 1.0
    crf: CRFParams | None = None
    class_names: tuple[str, ...] = ()
    palette: tuple[tuple[int, int, int], ...] | None = None

    @classmethod
    def of(cls, facts: Mapping[str, Any], source: str = "preprocessing") -> Preprocessing:
        """Read a JSON record with any of mean_bgr, scale, crf, class_names, palette.

        Args:
            facts: The record.
            source: What stands for the file's name in errors.

        Returns:
            The preprocessing.

        Raises:
            ValueError: The record is malformed.
        """
        from deeplab_repro.crf.model import CRFParams

        try:
            crf = facts.get("crf")
            palette = facts.get("palette")
            return cls(
                _three(facts.get("mean_bgr") or MEAN_BGR),
                float(facts.get("scale", 1.0)),
                CRFParams(**crf) if isinstance(crf, Mapping) else None,
                tuple(facts.get("class_names") or facts.get("classes") or ()),
                tuple(cast("tuple[int, int, int]", tuple(map(int, colour))) for colour in palette) if palette else None,
            )
        except (TypeError, ValueError) as error:
            raise ValueError(f"{source}: not a record of preprocessing: {error}") from error


def _three(values: Iterable[float]) -> tuple[float, float, float]:
    numbers = [float(value) for value in values]
    if len(numbers) == 1:
        numbers *= 3
    if len(numbers) != 3:
        raise ValueError(f"the mean needs 3 values (blue, green, red), got {len(numbers)}")
    return numbers[0], numbers[1], numbers[2]


def bundled_file(name: str = "bundled") -> Path:
    """The prototxt of a model that comes with the package; its .caffemodel and its record, .json, lie beside it.

    Args:
        name: One of MODELS, or "bundled".

    Returns:
        The file.

    Example:
        >>> from deeplab_repro.predict.preprocessing import bundled_file
        >>> bundled_file("scenes").name
        'scenes.prototxt'
    """
    return shipped(f"{MODELS[0] if name == 'bundled' else name}.prototxt")


def bundled_record(name: str = "bundled") -> dict[str, Any]:
    """What is recorded beside a model that comes with the package: classes, CRF, scores and how it was trained.

    Args:
        name: As of `bundled_file`.

    Returns:
        The record.
    """
    record: dict[str, Any] = json.loads(bundled_file(name).with_suffix(".json").read_text(encoding="utf-8"))
    return record


def bundled_preprocessing(name: str = "bundled") -> Preprocessing:
    """The preprocessing recorded beside a model that comes with the package.

    Args:
        name: As of `bundled_file`.

    Returns:
        The preprocessing.
    """
    return Preprocessing.of(bundled_record(name), f"{bundled_file(name).stem}.json")


def spec_preprocessing(spec: NetSpec) -> Preprocessing:
    """Mean (BGR) and scale that the net's Input or its first data layer states; the original release's without any."""
    for transform in (spec.input_transform, *(getattr(layer.options, "transform", None) for layer in spec.layers)):
        if transform is not None and transform.mean_value:
            return Preprocessing(mean_bgr=_three(transform.mean_value), scale=float(transform.scale))
    return Preprocessing()
