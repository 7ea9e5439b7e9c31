"""The table of layer types, and the helpers with which a type describes itself.

A type is a frozen dataclass of resolved options, entered with `register` (from outside this package: own.layer_type,
which also tells the schema about the type's message):

    @register("Power", field="power_param", v1="POWER")
    @dataclass(frozen=True)
    class PowerOptions(Options):
        power: float = 1.0
        scale: float = 1.0
        shift: float = 0.0

Fields named like those of the type's message are read and written without further code; override `parse` and `emit`
where they are not. `shapes`, `blob_count` and `params` describe tops and learnable blobs. All of them raise ValueError
with a plain sentence; the caller adds file, line and layer.

What a type is to those who rewrite, inspect or run nets stands in its row (LayerType), and where its options decide, in
methods of theirs (`reach`, `per_position`, `per_channel`, `multiply_accumulates`); nobody keeps lists of type names."""

from __future__ import annotations

import dataclasses
import math
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from prototxt_import.values import Filler, LayerSpec, Shape

# Caffe keeps element counts in a C int, and blobs have at most this many axes.
MAX_COUNT = 2**31 - 1
MAX_AXES = 32
_SINGLE = struct.Struct("f")
_LARGEST = 2.0**128 - 2.0**104

# (low, high, step): element i of a top depends on elements step * i + low to step * i + high below it.
Reach = tuple[float, float, float]
HERE: Reach = (0, 0, 1)


@dataclass(frozen=True)
class Context:
    """What beyond its own message decides a layer's options: phase (its own, else the net's), dialect, its blobs.

    asked: the dialect was named, not found out. stored: how many blobs the weights that are read with the net have for
    this layer, 0 where that is not known. rule: what the file's own comment says of the type (see Options.rule)."""

    phase: str
    dialect: str
    bottoms: int
    tops: int
    asked: bool = False
    stored: int = 0
    rule: str = ""
    strict_dim: bool = True
    four_axes: bool = False


@dataclass(frozen=True)
class Options:
    """Base of every type's options; by itself a layer without any, whose tops look like its bottoms.

    Example:
        >>> from prototxt_import import Options
        >>> Options().shapes([(1, 3, 8, 8)], tops=1)
        ((1, 3, 8, 8),)
    """

    field: ClassVar[str] = ""
    pointwise: ClassVar[bool] = False
    # Dialects that have the layer without any message of its own.
    bare_in: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def parse(cls: type[T], message: Any, context: Context) -> T:
        """Read options from a layer's message; by default the like-named fields of the type's own.

        Args:
            message: A LayerParameter of the text schema.
            context: What else decides: phase, dialect, and how many blobs the layer names.

        Returns:
            The options.

        Raises:
            ValueError: A field is missing or has a wrong value.
        """
        source = getattr(message, cls.field) if cls.field else None
        found: dict[str, Any] = {}
        for one in dataclasses.fields(cls):
            if one.name == "four_axes":  # every blob of the v1 fork has four, where newer Caffe drops those of size 1
                found[one.name] = context.four_axes
                continue
            if source is None or not one.init:
                continue
            optional = repeated(source.DESCRIPTOR.fields_by_name[one.name]) or source.HasField(one.name)
            if not optional and one.default is one.default_factory is dataclasses.MISSING:
                raise ValueError(f"{one.name} is missing in {cls.field}")
            found[one.name] = None if not optional and one.default is None else plain(source, one.name)
        return cls(**found).resolve(context.bottoms)

    def resolve(self: T, bottoms: int) -> T:
        """Fill in what depends on the number of bottoms.

        Args:
            bottoms: How many bottoms the layer has.

        Returns:
            These options, or others.
        """
        return self

    def emit(self, message: Any, dialect: str) -> None:
        """Write these options into a layer's message; what equals the schema's default is left out.

        Args:
            message: A LayerParameter, which is changed.
            dialect: The dialect of its schema.

        Raises:
            ValueError: The dialect cannot express an option.
        """
        if not self.field:
            return
        for one in dataclasses.fields(self):
            if one.name != "four_axes":
                put(message, self.field, one.name, getattr(self, one.name))

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...] | None:
        """Infer the shapes of the tops.

        Args:
            bottoms: Shapes of the bottoms.
            tops: How many tops the layer has.

        Returns:
            One shape per top; None where only the data can tell.

        Raises:
            ValueError: The bottoms do not fit.
        """
        if len(bottoms) < tops:
            raise ValueError(f"needs as many bottoms as tops, has {len(bottoms)} and {tops}")
        return tuple(bottoms[:tops])

    def blob_count(self, bottoms: int) -> int:
        """How many learnable blobs the layer has.

        Args:
            bottoms: How many bottoms the layer has.

        Returns:
            The number of blobs.
        """
        return 0

    def params(self, bottoms: Sequence[Shape]) -> tuple[Shape, ...]:
        """The shapes of the learnable blobs in Caffe's order.

        Args:
            bottoms: Shapes of the bottoms.

        Returns:
            One shape per blob.
        """
        return ()

    def reach(self, bottom: Shape, top: Shape) -> tuple[Reach, Reach] | None:
        """What of a map (N, C, H, W) an element of the top depends on; by default a pointwise type's own place.

        Args:
            bottom: Shape of the first bottom.
            top: Shape of the top.

        Returns:
            (low, high, step) by row and by column: element i depends on elements step * i + low to step * i + high.
            None:
            on all of it, or an element of the top has no place.
        """
        return (HERE, HERE) if self.pointwise else None

    def per_position(self: T, flat: bool) -> T | None:
        """Options under which a pointwise type does to every position of a map what it did.

        Args:
            flat: Whether its bottom had two axes, the last the channels', where the map has four.

        Returns:
            The options, or None where there are none.
        """
        axis = getattr(self, "axis", 1)
        if self.pointwise and axis == -1 and flat:
            return dataclasses.replace(self, **{"axis": 1})
        return self if self.pointwise and axis == 1 else None

    def per_channel(self, params: Sequence[Shape]) -> bool:
        """Whether an affine type with one bottom has one factor and summand per channel.

        Args:
            params: Shapes of the learnable blobs.

        Returns:
            The answer.
        """
        return True

    def multiply_accumulates(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        """Multiply-accumulates of one forward pass, of layers that are a matrix product.

        Args:
            bottoms: Shapes of the bottoms.
            tops: Shapes of the tops.

        Returns:
            Their number, 0 for other layers.
        """
        return 0

    def idle_in_test(self) -> bool:
        """Whether a train_only type is the identity in phase TEST under these options.

        Returns:
            The answer.
        """
        return True

    def from_batch(self, phase: str) -> bool:
        """Whether a pass takes statistics from its batch, as BatchNorm does without use_global_stats.

        Args:
            phase: "TRAIN" or "TEST".

        Returns:
            The answer.
        """
        return getattr(self, "use_global_stats", True) is False

    def draws_itself(self) -> bool:
        """Whether a pass draws random numbers beyond Dropout's masks.

        Returns:
            The answer.
        """
        return False

    def fixed_blobs(self) -> frozenset[int]:
        """The learnable blobs that training never moves, whatever multipliers the file gives them.

        Returns:
            Their indices.
        """
        return frozenset()

    def nominal(self, tops: Sequence[str]) -> tuple[Shape, ...] | None:
        """Likely shapes of a source's tops where only the data can tell, so that a net has parameters to begin with.

        Args:
            tops: Names of the tops.

        Returns:
            One shape per top, or None where there is nothing to go by.
        """
        return None

    def rule(self) -> str:
        """Which of the meanings that forks give to the text of this type is meant.

        Returns:
            The meaning's name, "" where the type has but one.
        """
        return ""


T = TypeVar("T", bound=Options)


@dataclass(frozen=True)
class LayerType:
    """A row of the table. bottoms and tops are the least and the most a layer may have (None: any number).

    v1: its name in V1's enum; v0: its names in the oldest format; loss: first top counts in the total and may be
    anonymous; data: makes its tops from files, so they are inputs of a net that does not run it; frozen: parameters
    are no subject of training, so an unset lr_mult means 0.
    pointwise: an element of a top depends on the same position below, across channels at most, unless the options say
    otherwise (`Options.reach`, `per_position`); so the type means the same at every rate.
    affine: with one bottom a fixed factor and summand per channel, where `Options.per_channel` holds; what they are
    tells the module that runs it (deeplab_repro.layers.CaffeLayer.channel_map).
    train_only: the identity in phase TEST, unless the options say otherwise (`Options.idle_in_test`).
    scorer: judges scores by labels, as Accuracy does. decides: makes an answer of scores, as ArgMax or Softmax does.
    only_sizes: bottoms, by index, of which the shape counts and no value.
    only_in: whose files alone have the type, which tells their dialect: "forks" (those of DeepLab and its kin) or
    "bvlc" (BVLC Caffe after the v2 fork had left it)."""

    name: str
    options: type[Options]
    field: str = ""
    v1: str = ""
    v0: tuple[str, ...] = ()
    bottoms: tuple[int, int | None] = (1, 1)
    tops: tuple[int, int | None] = (1, 1)
    loss: bool = False
    data: bool = False
    frozen: bool = False
    pointwise: bool = False
    affine: bool = False
    train_only: bool = False
    scorer: bool = False
    decides: bool = False
    only_sizes: tuple[int, ...] = ()
    only_in: str = ""


_types: dict[str, LayerType] = {}


def register(name: str, **row: Any) -> Callable[[type[T]], type[T]]:
    """Enter an options dataclass in the table of layer types; the rest of the row as in LayerType.

    Raises ValueError for a name that is taken."""

    def enter(options: type[T]) -> type[T]:
        entry = LayerType(name, options, **row)
        rivals = [one.name for one in _types.values() if entry.v1 and one.v1 == entry.v1]
        if name in _types or rivals:
            raise ValueError(f"layer type {name!r} is registered already{f' as {rivals[0]!r}' if rivals else ''}")
        options.field, options.pointwise = entry.field, entry.pointwise
        _types[name] = entry
        return options

    return enter


def lookup(name: str) -> LayerType | None:
    """The table's row of a V2 type name."""
    return _types.get(name)


def is_source(layer: LayerSpec) -> bool:
    """Whether a layer makes its tops from files."""
    row = lookup(layer.type)
    return row is not None and row.data


def across_channels(axis: int) -> tuple[Reach, Reach] | None:
    """The reach of what joins, cuts or normalises maps along an axis: None along rows or columns."""
    return (HERE, HERE) if axis in (0, 1, -3, -4) else None


def layer_types() -> tuple[LayerType, ...]:
    """All rows, in order of registration."""
    return tuple(_types.values())


# --- reading and writing messages ---


def plain(message: Any, name: str) -> Any:
    """A message field as a frozen Python value: enums by name, repeated fields as tuples, fillers as Filler."""
    descriptor = message.DESCRIPTOR.fields_by_name[name]
    value = getattr(message, name)
    if descriptor.message_type is not None and descriptor.message_type.name == "FillerParameter":
        return filler(value)
    if descriptor.enum_type is not None:
        names = descriptor.enum_type.values_by_number
        return tuple(names[one].name for one in value) if repeated(descriptor) else names[value].name
    if repeated(descriptor):
        return tuple(single(one) if descriptor.cpp_type == descriptor.CPPTYPE_FLOAT else one for one in value)
    return single(value) if descriptor.cpp_type == descriptor.CPPTYPE_FLOAT else value


def repeated(descriptor: Any) -> bool:
    """Whether a field descriptor is of a repeated field (`label` is gone from late protobuf runtimes)."""
    found = getattr(descriptor, "is_repeated", None)
    return bool(descriptor.label == descriptor.LABEL_REPEATED if found is None else found)


def single(value: float) -> float:
    """The shortest decimal that is the same single-precision number: 0.1 for the float32 nearest to 0.1."""
    if value == 0 or not math.isfinite(value):
        return value
    for digits in range(6, 9):
        short = float(f"{value:.{digits}g}")
        if abs(short) <= _LARGEST and _SINGLE.unpack(_SINGLE.pack(short))[0] == value:
            return short
    return value


def filler(message: Any) -> Filler:
    """A FillerParameter as a Filler."""
    return Filler(**{one.name: plain(message, one.name) for one in dataclasses.fields(Filler)})


def optional_filler(message: Any, name: str, default: Filler) -> Filler:
    """The filler in a message field, `default` where the field is absent."""
    return filler(getattr(message, name)) if message.HasField(name) else default


def put(message: Any, group: str, name: str, value: Any) -> None:
    """Set message.group.name unless that is its value anyway; ValueError where the dialect has no such field."""
    if value is None:
        return
    if group not in message.DESCRIPTOR.fields_by_name:
        raise ValueError(f"this dialect has no {group}")
    inner = getattr(message, group)
    descriptor = inner.DESCRIPTOR.fields_by_name.get(name)
    if descriptor is None:
        if value == plain_default(name) or value == ():
            return
        raise ValueError(f"this dialect has no field {name} in {group} (value {value!r})")
    if isinstance(value, Filler):
        put_filler(getattr(inner, name), value)
    elif isinstance(value, tuple):
        numbers = descriptor.enum_type.values_by_name if descriptor.enum_type is not None else None
        getattr(inner, name).extend([numbers[one].number for one in value] if numbers else value)
    elif plain(inner, name) != value:
        setattr(inner, name, descriptor.enum_type.values_by_name[value].number if descriptor.enum_type else value)


def plain_default(name: str) -> Any:
    """What a field means in a dialect that lacks it."""
    return {"axis": 1, "eps": 1e-9, "reset": True, "round_mode": "CEIL", "output_probability": True}.get(name)


def put_filler(message: Any, value: Filler) -> None:
    """Write a Filler; the type is always written, so that an otherwise default filler stays visible."""
    for one in dataclasses.fields(Filler):
        wanted = getattr(value, one.name)
        if one.name == "type" or wanted != plain(message, one.name):
            enum = message.DESCRIPTOR.fields_by_name[one.name].enum_type
            setattr(message, one.name, enum.values_by_name[wanted].number if enum else wanted)


# --- shapes ---


def count(shape: Iterable[int]) -> int:
    """Number of elements of a shape; ValueError for more axes than a blob can have."""
    sides = tuple(shape)
    if len(sides) > MAX_AXES:
        raise ValueError(f"a shape of {len(sides)} axes is more than a blob's {MAX_AXES}")
    return math.prod(sides)


def check_padded(bottom: Shape, pad: tuple[int, int]) -> None:
    """ValueError where an (N, C, H, W) bottom with its padding has more elements than Caffe can count."""
    n, c, h, w = spatial(bottom)
    if n * c * (h + 2 * pad[0]) * (w + 2 * pad[1]) > MAX_COUNT:
        raise ValueError(f"bottom {list(bottom)} with pad {pad} on each side has more than {MAX_COUNT} elements")


def spatial(shape: Shape) -> tuple[int, int, int, int]:
    """An (N, C, H, W) shape; ValueError for any other rank."""
    if len(shape) != 4:
        raise ValueError(f"needs a bottom of 4 axes (N, C, H, W), got {list(shape)}")
    return shape[0], shape[1], shape[2], shape[3]


def canonical(axis: int, shape: Shape) -> int:
    """A possibly negative axis of `shape` as a number from 0; ValueError outside."""
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f"axis {axis} is outside a bottom of shape {list(shape)}")
    return axis % len(shape)


def pair(value: int | Sequence[int]) -> tuple[int, int]:
    """One number for both axes, or (h, w)."""
    if isinstance(value, int):
        return value, value
    height, width = value
    return height, width
