"""Receptive fields: which input pixels an element of a blob depends on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from prototxt_import import LayerSpec, NetSpec
from prototxt_import.layers import lookup
from prototxt_import.layers.conv import WindowOptions

Shape = tuple[int, ...]
Pair = tuple[float, float]


@dataclass(frozen=True)
class ReceptiveField:
    """What one element of a blob sees of the input, in input pixels, (vertical, horizontal).

    Args:
        first: The first input row and column that element 0 reaches (outside the image where there is padding).
        last: The last row and column.
        stride: The way from one element to the next.

    Source:
        Chen et al. 2015, section 3: field of view.

    Example:
        >>> from deeplab_repro import inspect
        >>> inspect.ReceptiveField(first=(-1, -1), last=(1, 1), stride=(1, 1)).size
        (3, 3)
    """

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

    def facts(self) -> dict[str, Pair]:
        """The field as JSON has it.

        Returns:
            Size, stride and offset.
        """
        return {"size": self.size, "stride": self.stride, "offset": self.offset}

    def moved(self, axis_facts: list[tuple[float, float, float]]) -> ReceptiveField:
        """The field after a layer.

        Args:
            axis_facts: Per axis (low, high, step): the layer reaches from `low` to `high` elements and advances by
                `step`.

        Returns:
            The field of the layer's top.
        """
        first, last, stride = [], [], []
        for axis, (low, high, step) in enumerate(axis_facts):
            first.append(self.first[axis] + low * self.stride[axis])
            last.append(self.last[axis] + high * self.stride[axis])
            stride.append(self.stride[axis] * step)
        return ReceptiveField((first[0], first[1]), (last[0], last[1]), (stride[0], stride[1]))


def receptive_fields(spec: NetSpec) -> dict[str, ReceptiveField | None]:
    """What one element of each blob sees of the net's inputs, at the widest branch.

    Linear interpolation is taken to read two elements on each axis.

    Args:
        spec: The net.

    Returns:
        A field per blob; None where an element sees all of the input, or is not spatial.

    Example:
        >>> from deeplab_repro import inspect
        >>> from prototxt_import import layer, make_net
        >>> conv = layer("Convolution", "c", "x", "y", num_output=1, kernel=(3, 3), dilation=(4, 4))
        >>> inspect.receptive_fields(make_net("n", {"x": (1, 1, 9, 9)}, [conv]))["y"].size
        (9, 9)
    """
    fields: dict[str, ReceptiveField | None] = {}
    for name, shape in _sources(spec):
        fields[name] = ReceptiveField((0, 0), (0, 0), (1, 1)) if len(shape) == 4 else None
    for layer in spec.layers:
        row = lookup(layer.type)
        only_sizes = row.only_sizes if row is not None else ()
        read = [bottom for index, bottom in enumerate(layer.bottoms) if index not in only_sizes]
        below = [field for bottom in read if (field := fields.get(bottom)) is not None]
        for top in layer.tops if read else ():
            shape, reach = spec.blobs.get(top, ()), None
            if len(shape) == 4 and len(below) == len(read):
                reach = layer.options.reach(spec.blobs[read[0]], shape)
            fields[top] = _union(below).moved(list(reach)) if reach else None
    return fields


def effective_rate(layer: LayerSpec, fields: dict[str, ReceptiveField | None]) -> Pair | None:
    """Input pixels between neighbouring taps of a convolution: its dilation times the stride so far.

    What the papers call the rate is the dilation; times the stride 8 of their last maps it becomes this, 96 for
    LargeFOV's fc6 of rate 12.

    Args:
        layer: The layer.
        fields: What `receptive_fields` gives for its net.

    Returns:
        Pixels (vertical, horizontal); None for other layers, single taps, and where the stride is not known.

    Example:
        >>> from deeplab_repro import inspect, zoo
        >>> net = zoo.spec("deeplab_largefov")
        >>> inspect.effective_rate(net.layer("fc6"), inspect.receptive_fields(net))
        (96, 96)
    """
    below = fields.get(layer.bottoms[0]) if layer.bottoms else None
    if not isinstance(layer.options, WindowOptions) or below is None or max(layer.options.kernel) == 1:
        return None
    dilation = layer.options.dilation
    return dilation[0] * below.stride[0], dilation[1] * below.stride[1]


def _sources(spec: NetSpec) -> Iterator[tuple[str, Shape]]:
    yield from spec.inputs.items()
    for layer in spec.layers:
        if not layer.bottoms:
            yield from ((top, spec.blobs.get(top, ())) for top in layer.tops)


def _union(fields: list[ReceptiveField]) -> ReceptiveField:
    first, last, stride = zip(*((field.first, field.last, field.stride) for field in fields), strict=True)
    return ReceptiveField(
        (min(f[0] for f in first), min(f[1] for f in first)),
        (max(f[0] for f in last), max(f[1] for f in last)),
        (max(s[0] for s in stride), max(s[1] for s in stride)),
    )
