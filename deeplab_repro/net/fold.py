"""Which layers of a net can run as one: the rewriting behind CaffeNet.prepare, on LayerSpecs alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from deeplab_repro.layers.base import module_class
from prototxt_import import LayerSpec
from prototxt_import.layers import LayerType, lookup
from prototxt_import.values import Shape

Value = tuple[str, int]  # a blob's name and how often it has been written


@dataclass(eq=False)
class Stage:
    """Layers that run as one: `layer` reads `before`'s bottom and gives the last of `after`'s top.

    before: affine layers a convolution takes in from in front of it. after: what follows it in place or by name.
    inner: convolutions that `layer`, a sum, adds up itself: either all its terms, from one bottom, or its last."""

    layer: LayerSpec
    before: list[LayerSpec] = field(default_factory=list)
    after: list[LayerSpec] = field(default_factory=list)
    inner: list[Stage] = field(default_factory=list)
    source: Value | None = None  # what the layer reads, where that is one value

    def merged(self) -> LayerSpec:
        """A layer with the bottoms and tops of all of them: of a sum, what the inner convolutions read, then the
        terms they do not make."""
        bottoms = self.before[0].bottoms if self.before else self.layer.bottoms
        if self.inner:
            made = {stage.merged().tops[0] for stage in self.inner}
            bottoms = (*self.inner[0].merged().bottoms, *(name for name in bottoms if name not in made))
        tops = self.after[-1].tops if self.after else self.layer.tops
        return replace(self.layer, bottoms=bottoms, tops=tops)

    def layers(self) -> Iterator[LayerSpec]:
        """All of them, in no particular order."""
        yield from (*self.before, self.layer, *self.after)
        for stage in self.inner:
            yield from stage.layers()

    @property
    def slope(self) -> float | None:
        """Below 0, of the ReLU among `after`; None without one."""
        return next((layer.options.negative_slope for layer in self.after if layer.type == "ReLU"), None)

    @property
    def has_relu(self) -> bool:
        """Whether a ReLU was taken in."""
        return self.slope is not None


def fold(
    layers: Sequence[LayerSpec],
    param_shapes: Mapping[str, tuple[Shape, ...]],
    phase: str,
    keep: Collection[str],
    sums: bool = False,
) -> list[Stage]:
    """Group layers into stages that run as one.

    Affine layers (frozen BatchNorm, Scale, Bias) join the convolution before them, or the one behind them where that
    has no padding and nothing lies between; one after the other they are one affine map. ReLU joins any layer that
    makes fresh memory, Dropout in phase TEST any layer at all. Only values with a single reader are folded away.

    Args:
        layers: In order.
        param_shapes: Shapes of their blobs, by name.
        phase: "TRAIN" or "TEST".
        keep: Blobs that stay visible.
        sums: Whether parallel convolutions of one blob join their sum, and a 1x1 convolution at the end of a residual
            branch does.

    Returns:
        The stages in order.
    """
    reads, sources, results, last = values(layers)
    kept = {value for name, value in last.items() if name in keep}
    stages: list[Stage] = []
    makers: dict[Value, Stage] = {}
    for layer, bottoms, tops in zip(layers, sources, results, strict=True):
        plain = not any(layer.loss_weights)
        maker = makers.get(bottoms[0]) if len(bottoms) == 1 else None
        hidden = bool(bottoms) and reads[bottoms[0]] == 1 and bottoms[0] not in kept
        if maker and hidden and plain and len(tops) == 1 and _joins(layer, maker, param_shapes, phase):
            maker.after.append(layer)
            makers[tops[0]] = maker
            continue
        stage = Stage(layer, source=bottoms[0] if len(bottoms) == 1 else None)
        if sums and plain and is_sum(layer):
            lone = [makers.get(value) if reads[value] == 1 and value not in kept else None for value in bottoms]
            stage.inner = _inner(lone)
            stages = [earlier for earlier in stages if earlier not in stage.inner]
        elif maker and hidden and _feeds(maker, layer, param_shapes):
            stage.before = [maker.layer, *maker.after]
            stages.remove(maker)
        stages.append(stage)
        if plain and len(tops) == 1:
            makers[tops[0]] = stage
    return stages


def values(
    layers: Sequence[LayerSpec],
) -> tuple[Counter[Value], list[list[Value]], list[list[Value]], dict[str, Value]]:
    """Tell a blob's values apart: an in-place layer makes another of the same name.

    Args:
        layers: In order.

    Returns:
        Readers of each value, the values that each layer reads, those that it makes, and the last value of each blob.
    """
    last: dict[str, Value] = {}
    reads: Counter[Value] = Counter()
    sources, results = [], []
    for layer in layers:
        bottoms = [last.setdefault(name, (name, 0)) for name in layer.bottoms]
        reads.update(bottoms)
        sources.append(bottoms)
        for top in layer.tops:
            last[top] = (top, last.get(top, (top, 0))[1] + 1)
        results.append([last[top] for top in layer.tops])
    return reads, sources, results, last


def _joins(layer: LayerSpec, stage: Stage, param_shapes: Mapping[str, tuple[Shape, ...]], phase: str) -> bool:
    first = stage.layer
    if is_idle(layer):
        return (layer.phase or phase) == "TEST"
    if layer.type == "ReLU":
        # It works in place, on memory that is the stage's own.
        return module_class(first.type).fresh_top and not stage.has_relu
    if not is_channel_map(layer, param_shapes) or stage.has_relu or stage.inner:
        return False
    return first.type == "Convolution" or is_channel_map(first, param_shapes)


def is_sum(layer: LayerSpec) -> bool:
    """Whether a layer adds up at least two blobs as they are."""
    if layer.type != "Eltwise" or layer.options.operation != "SUM" or len(layer.bottoms) < 2:
        return False
    return len(set(layer.bottoms)) == len(layer.bottoms) and all(coeff == 1 for coeff in layer.options.coeffs or ())


def _inner(terms: Sequence[Stage | None]) -> list[Stage]:
    """Of the stages that make a sum's terms for it alone, those that it can take in."""
    convolutions = [
        stage
        for stage in terms
        if stage is not None
        and stage.layer.type == "Convolution"
        and not (stage.before or stage.inner or stage.has_relu)
        and stage.layer.options.stride == (1, 1)
        and stage.layer.options.group == 1
        and len(stage.layer.bottoms) == 1
    ]
    if len(convolutions) == len(terms) and len({stage.source for stage in convolutions}) == 1:
        return convolutions
    pointwise = [
        stage for stage in convolutions if stage.layer.options.kernel == (1, 1) and stage.layer.options.pad == (0, 0)
    ]
    return pointwise[-1:] if len(terms) == 2 else []


def _feeds(stage: Stage, layer: LayerSpec, param_shapes: Mapping[str, tuple[Shape, ...]]) -> bool:
    """Whether a stage of affine layers alone can move into the convolution behind it.

    Padding would have to be the affine map's zero, not zero."""
    if layer.type != "Convolution" or layer.options.pad != (0, 0) or not is_channel_map(stage.layer, param_shapes):
        return False
    return all(is_affine(member) or is_idle(member) for member in stage.after)


def _row(layer: LayerSpec) -> LayerType:
    row = lookup(layer.type)
    assert row is not None  # a NetSpec holds known types alone
    return row


def is_idle(layer: LayerSpec) -> bool:
    """Whether a layer is the identity in phase TEST."""
    return _row(layer).train_only and layer.options.idle_in_test()


def is_affine(layer: LayerSpec) -> bool:
    """Whether a layer is of a type that may be a fixed factor and summand per channel."""
    return _row(layer).affine


def is_channel_map(layer: LayerSpec, param_shapes: Mapping[str, tuple[Shape, ...]]) -> bool:
    """Whether a layer is a fixed multiplication and addition per channel."""
    return len(layer.bottoms) == 1 and is_affine(layer) and layer.options.per_channel(param_shapes.get(layer.name, ()))
