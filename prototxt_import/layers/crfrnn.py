"""CRF-RNN: the mean field with learned kernel weights, and how its Crop (HED's, too) finds where to cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from prototxt_import.layers.base import Context, Options
from prototxt_import.layers.conv import WindowOptions
from prototxt_import.layers.messages import plain
from prototxt_import.layers.pool import PoolingOptions
from prototxt_import.layers.resize import CropOptions
from prototxt_import.layers.shapes import spatial
from prototxt_import.layers.table import lookup, register
from prototxt_import.values import LayerSpec, Shape

_REQUIRED = ("theta_alpha", "theta_beta", "theta_gamma", "num_iterations")


@register(
    "MultiStageMeanfield",
    field="multi_stage_meanfield_param",
    v1="MULTI_STAGE_MEANFIELD",
    bottoms=(3, 3),
    tops=(1, 1),
    only_in="crfrnn",
)
@dataclass(frozen=True)
class MultiStageMeanfieldOptions(Options):
    """Mean field on a unary (N, C, H, W), first scores of that shape and an image (N, 3, H, W); the top holds scores.

    Three blobs (1, 1, C, C), rows for the label that is computed: weights of the spatial kernel, weights of the
    bilateral kernel, compatibility. Without stored weights the kernels begin as diagonals: the first C numbers of the
    two strings, else of the files spatial.par and bilateral.par, else the two filter weights."""

    theta_alpha: float
    theta_beta: float
    theta_gamma: float
    num_iterations: int
    threshold: float = 2.0
    compatibility_mode: str = "POTTS"
    spatial_filter_weight: float = 1.0
    bilateral_filter_weight: float = 1.0
    spatial_filter_weights_str: str | None = None
    bilateral_filter_weights_str: str | None = None

    def __post_init__(self) -> None:
        if self.num_iterations < 2:
            raise ValueError(f"num_iterations is {self.num_iterations}; the forks take 2 or more")
        for name in _REQUIRED[:3]:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")

    @classmethod
    def parse(cls, message: Any, context: Context) -> MultiStageMeanfieldOptions:
        source = message.multi_stage_meanfield_param
        missing = [name for name in _REQUIRED if not source.HasField(name)]
        if missing:
            raise ValueError(f"{missing[0]} is missing in multi_stage_meanfield_param")
        names = (*_REQUIRED, "threshold", "compatibility_mode", "spatial_filter_weight", "bilateral_filter_weight")
        facts = {name: plain(source, name) for name in names}
        for name in ("spatial_filter_weights_str", "bilateral_filter_weights_str"):
            facts[name] = getattr(source, name) if source.HasField(name) else None
        return cls(**facts)

    def emit(self, message: Any, dialect: str) -> None:
        super().emit(message, dialect)
        target = message.multi_stage_meanfield_param
        for name in _REQUIRED:  # the forks' parsers want them whatever their values
            setattr(target, name, getattr(self, name))

    def diagonals(self, labels: int) -> tuple[tuple[float, ...] | None, ...]:
        """The numbers of the two strings.

        Args:
            labels: How many labels the scores have.

        Returns:
            One number a label, of the spatial and of the bilateral kernel; None for a string that is not given.

        Raises:
            ValueError: A string has too few numbers, or something else.
        """
        diagonals: list[tuple[float, ...] | None] = []
        for name in ("spatial_filter_weights_str", "bilateral_filter_weights_str"):
            text = getattr(self, name)
            if text is None:
                diagonals.append(None)
                continue
            words = text.split(" ")[:labels]
            try:
                numbers = tuple(float(word) for word in words)
            except ValueError:
                raise ValueError(f"{name} is {text[:60]!r}; numbers with one blank between them are expected") from None
            if len(numbers) < labels:
                raise ValueError(f"{name} has {len(numbers)} numbers for {labels} labels")
            diagonals.append(numbers)
        return tuple(diagonals)

    def blob_count(self, bottoms: int) -> int:
        return 3

    def params(self, bottoms: Sequence[Shape]) -> tuple[Shape, ...]:
        labels = spatial(bottoms[0])[1]
        self.diagonals(labels)
        return ((1, 1, labels, labels),) * 3

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...]:
        n, _, h, w = spatial(bottoms[0])
        if bottoms[1] != bottoms[0]:
            raise ValueError(f"first scores {list(bottoms[1])} must have the shape of the unary {list(bottoms[0])}")
        if bottoms[2] != (n, 3, h, w):
            raise ValueError(f"third bottom must be the image, [{n}, 3, {h}, {w}], got {list(bottoms[2])}")
        return (bottoms[0],)


# --- Crop that finds its offsets ---

_Map = tuple[Fraction, Fraction]  # out = first * in + second


def aligned(layers: Sequence[LayerSpec], index: int) -> tuple[int, int]:
    """The offset of a Crop without one: where the pixel of its second bottom lies that belongs to the first's.

    Every layer maps coordinates of its input to those of its output; both bottoms are followed to a blob that they
    share.

    Args:
        layers: The net's layers; Crops before this one have their offsets already.
        index: Which of them is the Crop.

    Returns:
        (h, w).

    Raises:
        ValueError: The two bottoms do not belong together pixel for pixel; the forks refuse them, too.
    """
    layers = layers[: index + 1]
    first, second = layers[index].bottoms
    to_source = dict(_way(layers, first))
    shared, back = _until(layers, second, set(to_source))
    if shared is None:
        raise ValueError(f"bottoms {first!r} and {second!r} come from no common blob; nothing tells where to cut")
    offsets = []
    for axis in (0, 1):
        scale, shift = _after(_inverse(to_source[shared][axis]), back[axis])
        side = ("height", "width")[axis]
        if scale != 1:
            raise ValueError(f"{first!r} has {float(1 / scale):g} pixels for one of {second!r} along its {side}")
        if shift.denominator != 1:
            raise ValueError(
                f"{first!r} lies {float(-shift):g} pixels off {second!r} along its {side}: no whole number"
            )
        if shift > 0:
            raise ValueError(f"{second!r} begins {shift} pixels before {first!r} along its {side}; nothing lies there")
        offsets.append(int(-shift))
    return offsets[0], offsets[1]


def _way(layers: Sequence[LayerSpec], blob: str) -> list[tuple[str, tuple[_Map, _Map]]]:
    """The blobs from `blob` back to its source, each with the map from its coordinates to those of `blob`."""
    same = (Fraction(1), Fraction(0))
    way = [(blob, (same, same))]
    before = len(layers)
    while (before := _producer(layers, blob, before)) >= 0:
        layer = layers[before]
        blob = layer.bottoms[0]
        steps = _steps(layer)
        maps = way[-1][1]
        way.append((blob, (_after(steps[0], maps[0]), _after(steps[1], maps[1]))))
    return way


def _until(layers: Sequence[LayerSpec], blob: str, wanted: set[str]) -> tuple[str | None, tuple[_Map, _Map]]:
    """The first blob on the way back from `blob` that is wanted, with the map from its coordinates to `blob`'s."""
    same = (Fraction(1), Fraction(0))
    maps = (same, same)
    before = len(layers)
    while blob not in wanted:
        before = _producer(layers, blob, before)
        if before < 0:
            return None, maps
        layer = layers[before]
        steps = _steps(layer)
        maps = (_after(steps[0], maps[0]), _after(steps[1], maps[1]))
        blob = layer.bottoms[0]
    return blob, maps


def _producer(layers: Sequence[LayerSpec], blob: str, before: int) -> int:
    """Index of the first layer that makes a blob, one before another layer's; -1 for a source's and for an input."""
    for index, layer in enumerate(layers[:before]):
        if blob in layer.tops and blob not in layer.bottoms:
            return index if layer.bottoms else -1
    return -1


def _steps(layer: LayerSpec) -> tuple[_Map, _Map]:
    """Per axis the map from a layer's input coordinates to its output's."""
    options = layer.options
    row = lookup(layer.type)
    if row is not None and row.keeps_place:
        return (Fraction(1), Fraction(0)), (Fraction(1), Fraction(0))
    if isinstance(options, CropOptions):
        cut = options.cut()
        if cut is not None:
            return (Fraction(1), Fraction(-cut[0])), (Fraction(1), Fraction(-cut[1]))
    if isinstance(options, (WindowOptions, PoolingOptions)) and not getattr(options, "global_pooling", False):
        return _window(layer, 0), _window(layer, 1)
    raise ValueError(
        f"layer {layer.name!r} ({layer.type}) lies on the way to its bottoms; the forks cannot align across it. "
        "Give crop_param an offset"
    )


def _window(layer: LayerSpec, axis: int) -> _Map:
    options = layer.options
    extent = options.extent(axis) if isinstance(options, WindowOptions) else options.kernel[axis]
    centre = Fraction(extent - 1, 2) - options.pad[axis]
    stride = Fraction(options.stride[axis])
    if layer.type == "Deconvolution":
        return stride, centre
    return 1 / stride, -centre / stride


def _after(inner: _Map, outer: _Map) -> _Map:
    """outer(inner(x))."""
    return outer[0] * inner[0], outer[0] * inner[1] + outer[1]


def _inverse(step: _Map) -> _Map:
    return 1 / step[0], -step[1] / step[0]
