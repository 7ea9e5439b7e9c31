"""Receptive fields: which input pixels an element of a blob depends on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from prototxt_import import LayerSpec, NetSpec

Shape = tuple[int, ...]
Pair = tuple[float, float]

# Each element of their tops depends on whole planes, or has no place in the image.
_GLOBAL = frozenset(
    (
        "Accuracy",
        "DenseCRF",
        "DomainTransform",
        "Flatten",
        "InnerProduct",
        "MVN",
        "Permute",
        "Reduction",
        "Reshape",
        "SPP",
        "SegAccuracy",
    )
)


@dataclass(frozen=True)
class Field:
    """What one element of a blob sees of the input, in input pixels, (vertical, horizontal).

    first, last: the input rows and columns that element 0 reaches (outside the image where there is padding);
    stride: the way from one element to the next."""

    first: Pair
    last: Pair
    stride: Pair

    @property
    def size(self) -> Pair:
        """Extent of the receptive field."""
        return self.last[0] - self.first[0] + 1, self.last[1] - self.first[1] + 1

    @property
    def offset(self) -> Pair:
        """Centre of element 0's field."""
        return (self.first[0] + self.last[0]) / 2, (self.first[1] + self.last[1]) / 2

    def moved(self, axis_facts: list[tuple[float, float, float]]) -> Field:
        """The field after a step that reaches from `low` to `high` elements and advances by `step`, per axis."""
        first, last, stride = [], [], []
        for axis, (low, high, step) in enumerate(axis_facts):
            first.append(self.first[axis] + low * self.stride[axis])
            last.append(self.last[axis] + high * self.stride[axis])
            stride.append(self.stride[axis] * step)
        return Field((first[0], first[1]), (last[0], last[1]), (stride[0], stride[1]))


def receptive_fields(spec: NetSpec) -> dict[str, Field | None]:
    """Per blob, what one element sees of the net's inputs, at the widest branch; None: all of it, or not spatial.

    Linear interpolation is taken to read two elements on each axis."""
    fields: dict[str, Field | None] = {}
    for name, shape in _sources(spec):
        fields[name] = Field((0, 0), (0, 0), (1, 1)) if len(shape) == 4 else None
    for layer in spec.layers:
        # Crop's second bottom only says how large the result is.
        below = [fields.get(bottom) for bottom in (layer.bottoms[:1] if layer.type == "Crop" else layer.bottoms)]
        if not below:
            continue
        known = [field for field in below if field]
        above = _step(layer, spec, _union(known)) if known and len(known) == len(below) else None
        for top in layer.tops:
            fields[top] = above if len(spec.blobs.get(top, ())) == 4 else None
    return fields


def effective_rate(layer: LayerSpec, fields: dict[str, Field | None]) -> Pair | None:
    """Input pixels between neighbouring taps of a convolution: its dilation times the stride so far.

    What the papers call the rate is the dilation; times the stride 8 of their last maps it becomes this, 96 for
    LargeFOV's fc6 of rate 12. None for other layers, single taps, and where the stride is not known."""
    below = fields.get(layer.bottoms[0]) if layer.bottoms else None
    if layer.type not in ("Convolution", "Deconvolution") or below is None:
        return None
    if max(layer.options.kernel) == 1:
        return None
    dilation = layer.options.dilation
    return dilation[0] * below.stride[0], dilation[1] * below.stride[1]


def _sources(spec: NetSpec) -> Iterator[tuple[str, Shape]]:
    yield from spec.inputs.items()
    for layer in spec.layers:
        if not layer.bottoms:
            yield from ((top, spec.blobs.get(top, ())) for top in layer.tops)


def _union(fields: list[Field]) -> Field:
    first, last, stride = zip(*((each.first, each.last, each.stride) for each in fields), strict=True)
    return Field(
        (min(f[0] for f in first), min(f[1] for f in first)),
        (max(f[0] for f in last), max(f[1] for f in last)),
        (max(s[0] for s in stride), max(s[1] for s in stride)),
    )


def _step(layer: LayerSpec, spec: NetSpec, below: Field) -> Field | None:
    """The field above a layer, from the one below it."""
    options = layer.options
    if layer.type == "Convolution" or (layer.type == "Pooling" and not options.global_pooling):
        dilation = getattr(options, "dilation", (1, 1))
        return below.moved(
            [
                (-pad, rate * (kernel - 1) - pad, stride)
                for kernel, stride, pad, rate in zip(options.kernel, options.stride, options.pad, dilation, strict=True)
            ]
        )
    if layer.type == "Deconvolution":
        reach = [rate * (kernel - 1) for kernel, rate in zip(options.kernel, options.dilation, strict=True)]
        return below.moved(
            [
                (math.ceil((pad - tap) / stride), pad // stride, 1 / stride)
                for tap, stride, pad in zip(reach, options.stride, options.pad, strict=True)
            ]
        )
    if layer.type == "Interp":
        return below.moved([_interp_axis(layer, spec, axis) for axis in (2, 3)])
    if layer.type == "Padding":
        return below.moved([(-options.pad_beg, -options.pad_beg, 1)] * 2)
    if layer.type == "Crop":
        return below.moved([(begin, begin, 1) for begin in _crop_begins(layer)])
    if layer.type == "LRN" and options.norm_region == "WITHIN_CHANNEL":
        reach = options.local_size // 2
        return below.moved([(-reach, reach, 1)] * 2)
    if layer.type in ("Concat", "Slice", "Softmax", "Tile") and options.axis not in (0, 1, -3, -4):
        return None
    everywhere = layer.type in _GLOBAL or layer.type.endswith("Loss") or layer.type == "Pooling"
    per_pixel = layer.type != "ArgMax" or len(spec.blobs.get(layer.tops[0], ())) == 4
    return below if per_pixel and not everywhere else None


def _crop_begins(layer: LayerSpec) -> tuple[int, int]:
    """Where a Crop begins on the last two axes: one offset serves every axis from `axis` on."""
    axis, offset = layer.options.axis % 4, layer.options.offset or (0,)
    each = [0] * axis + list(offset if len(offset) > 1 else offset * (4 - axis))
    return each[2], each[3]


def _interp_axis(layer: LayerSpec, spec: NetSpec, axis: int) -> tuple[float, float, float]:
    bottom, top = (spec.blobs.get(name, (1, 1, 1, 1)) for name in (layer.bottoms[0], layer.tops[0]))
    begin, end = layer.options.pad_beg, layer.options.pad_end
    extent = bottom[axis] + begin + end
    if extent == top[axis]:
        return -begin, -begin, 1
    step = (extent - 1) / (top[axis] - 1) if top[axis] > 1 else 1.0
    exact = float(step).is_integer()
    return -begin, -begin + (0 if exact else 1), step
