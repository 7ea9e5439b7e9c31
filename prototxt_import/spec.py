"""Frozen, typed description of a Caffe net: what every reader produces and every consumer takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any

from prototxt_import.errors import complain, nearest
from prototxt_import.layers.data import TransformOptions
from prototxt_import.layers.shapes import count
from prototxt_import.values import Array, LayerSpec, Shape
from prototxt_import.wiring import bare_shape, check_sharing, infer, numbered, problem


def _frozen(items: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(items))


@dataclass(frozen=True)
class NetSpec:
    """A net in one state (phase, level, stages): filtered layers, inferred shapes and, when read, weights.

    `read_net`, `parse_net` and `make_net` give nets whose shapes are inferred.

    Args:
        name: The net's name.
        inputs: Shape of every blob fed from outside by legacy `input` fields or Input layers (those are no layers).
        layers: In file order; no Split layers are inserted. Where names repeat or are absent, the later ones are
            `name#2`.
        phase: "TRAIN" or "TEST".
        level: The state's level that rules were held against.
        stages: The state's stages.
        dialect: One of prototxt.net.DIALECTS.
        evidence: What in the file told the dialect, empty for nets built in code.
        notes: What was taken, and why, where forks mean different things by one text and nobody said which is meant.
        force_backward: Whether gradients reach the inputs and blobs of lr_mult 0, too.
        blobs: Shape of every blob, the last writer's for in-place chains.
        param_shapes: Per layer, the shapes of its learnable blobs.
        outputs: The blobs nobody consumes, in the order in which they appear.
        weights: Arrays by layer name, read-only views of the mapped file where its layout allows.
        unused_weights: Layers of the weight file with blobs that this net lacks.
        missing_weights: Layers with blobs that the weight file lacks.
        source: The file's name.
        variables: Values of the ${NAME} placeholders.
        input_transform: transform_param of the first Input layer that has one. Caffe's layer does not look at it: it
            tells whoever feeds the net.

    Source:
        Caffe's NetParameter (caffe.proto) and Net::FilterNet.

    Example:
        >>> from prototxt_import import layer, make_net
        >>> net = make_net("n", {"x": (1, 3, 9, 9)}, [layer("Pooling", "p", "x", "y", kernel=(3, 3), stride=(2, 2))])
        >>> net.blobs["y"], net.outputs
        ((1, 3, 4, 4), ('y',))
    """

    name: str
    inputs: Mapping[str, Shape]
    layers: tuple[LayerSpec, ...]
    phase: str = "TEST"
    level: int = 0
    stages: tuple[str, ...] = ()
    dialect: str = field(default="bvlc", compare=False)
    evidence: str = field(default="", compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)
    force_backward: bool = False
    blobs: Mapping[str, Shape] = field(default_factory=dict)
    param_shapes: Mapping[str, tuple[Shape, ...]] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    weights: Mapping[str, list[Array]] = field(default_factory=dict, compare=False)
    unused_weights: tuple[str, ...] = field(default=(), compare=False)
    missing_weights: tuple[str, ...] = field(default=(), compare=False)
    source: str = field(default="", compare=False)
    variables: Mapping[str, str] = field(default_factory=dict, compare=False)
    input_transform: TransformOptions | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        for name in ("inputs", "blobs", "param_shapes", "weights", "variables"):
            object.__setattr__(self, name, _frozen(getattr(self, name)))

    def __reduce__(self) -> tuple[Any, ...]:
        # A mapping proxy neither pickles nor deep-copies; the constructor makes new ones.
        values = (getattr(self, fact.name) for fact in fields(self))
        return type(self), tuple(dict(value) if isinstance(value, Mapping) else value for value in values)

    def __deepcopy__(self, memo: object) -> NetSpec:
        return self

    def with_inputs(self, shapes: Mapping[str, Shape]) -> NetSpec:
        """The same net for other input sizes: all shapes are inferred again.

        Args:
            shapes: By input blob, or by a data layer's top (which then has that shape); inputs left out keep theirs.

        Returns:
            The net for these shapes.

        Raises:
            CaffeFormatError: A layer does not fit, or the net has no such input; the message names it.
        """
        fed = {top for layer in self.layers if not layer.bottoms for top in layer.tops}
        unknown = [name for name in shapes if name not in self.inputs and name not in fed]
        if unknown:
            known = [*self.inputs, *sorted(fed)]
            raise complain(f"the net has no input {unknown[0]!r}{nearest(unknown[0], known)}", source=self.source)
        inputs = {name: tuple(shapes.get(name, shape)) for name, shape in self.inputs.items()}
        given = {
            name: tuple(shapes.get(name, self.blobs.get(name, ()))) for name in fed if name in {*shapes, *self.blobs}
        }
        return finish(replace(self, inputs=inputs), given)

    def layer(self, name: str) -> LayerSpec:
        """The layer of a name.

        Args:
            name: The layer's name.

        Returns:
            The layer.

        Raises:
            KeyError: The net has no layer of that name.
        """
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(name)


def finish(spec: NetSpec, given: Mapping[str, Shape] | None = None) -> NetSpec:
    """Wire a net: names made distinct, blobs, param_shapes and outputs inferred, sharing checked.

    Args:
        spec: The net.
        given: Shapes of data layers' tops that are known otherwise.

    Returns:
        The net with all of them.

    Raises:
        CaffeFormatError: A layer does not fit; the message names it.
    """
    spec = replace(spec, layers=numbered(spec.layers))
    wiring = infer(spec.inputs, spec.layers, spec.source, given or {})
    check_sharing(spec.layers, wiring.param_shapes, spec.source)
    finished = replace(
        spec,
        blobs={name: shape for name, shape in wiring.blobs.items() if shape is not None},
        param_shapes=wiring.param_shapes,
        outputs=wiring.outputs,
    )
    return fit(finished, "the weights") if spec.weights else finished


def fit(spec: NetSpec, origin: str) -> NetSpec:
    """Bring the weights of a net into the shapes of its parameters.

    Leading axes of size 1 do not count: the old formats write a bias as (1, 1, 1, N). Where only data tell the shapes
    of a layer's bottoms, the sizes of its blobs tell those of its parameters.

    Args:
        spec: The net.
        origin: Where the weights come from, for errors.

    Returns:
        The net.

    Raises:
        CaffeFormatError: Shapes differ; the message names the layer.
    """
    fitted, known = {}, dict(spec.param_shapes)
    for layer in spec.layers:
        blobs = spec.weights.get(layer.name)
        if blobs is None:
            continue
        shapes = known.get(layer.name)
        if shapes is None and blobs:
            shapes = layer.options.params_of([blob.size for blob in blobs], len(layer.bottoms))
            if shapes is not None:
                known[layer.name] = shapes
        fitted[layer.name] = blobs
        if shapes is None:
            continue
        for index, (blob, shape) in enumerate(zip(blobs, shapes, strict=True)):
            alike = bare_shape(blob.shape) == bare_shape(shape)
            if not alike and (layer.strict_dim or blob.size != count(shape)):
                raise problem(
                    layer,
                    spec.source,
                    f"blob {index} has shape {list(shape)} here and {list(blob.shape)} in {origin}; the net and the "
                    "model do not belong together",
                )
        fitted[layer.name] = [blob.reshape(shape) for blob, shape in zip(blobs, shapes, strict=True)]
    return replace(spec, weights=fitted, param_shapes=known)
