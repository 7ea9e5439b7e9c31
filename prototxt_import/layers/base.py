"""How a layer type describes itself.

A type is a frozen dataclass of resolved options, entered in the table with table.register (from outside this package:
own.layer_type, which also tells the schema about the type's message):

    @register("Power", field="power_param", v1="POWER")
    @dataclass(frozen=True)
    class PowerOptions(Options):
        power: float = 1.0
        scale: float = 1.0
        shift: float = 0.0

Fields named like those of the type's message are read and written without further code; override `parse` and `emit`
where they are not. `shapes`, `blob_count` and `params` describe tops and learnable blobs. All of them raise ValueError
with a plain sentence; the caller adds file, line and layer.

What a type is to those who rewrite, inspect or run nets stands in its row (table.LayerType), and where its options
decide, in methods of theirs (`reach`, `per_position`, `per_channel`, `multiply_accumulates`); nobody keeps lists of
type names."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from prototxt_import.layers.messages import plain, put, repeated
from prototxt_import.layers.shapes import HERE, Reach, count
from prototxt_import.values import Shape


@dataclass(frozen=True)
class Context:
    """What beyond its own message decides a layer's options.

    Args:
        phase: The layer's own, else the net's.
        dialect: The file's.
        bottoms: How many bottoms the layer has.
        tops: How many tops.
        asked: Whether the dialect was named, and not found out.
        stored: Tells how many blobs the weights that are read with the net have for this layer, 0 where that is not
            known; the file is opened at the first question.
        rule: What the file's own comment says of the type (see Options.rule).
        strict_dim: The layer's (see LayerSpec).
        four_axes: Whether every blob has four axes, as in the v1 fork.
    """

    phase: str
    dialect: str
    bottoms: int
    tops: int
    asked: bool = False
    stored: Callable[[], int] = lambda: 0
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
        given: dict[str, Any] = {}
        for option in dataclasses.fields(cls):
            name = option.name
            if name == "four_axes":  # every blob of the v1 fork has four, where newer Caffe drops those of size 1
                given[name] = context.four_axes
                continue
            if source is None or not option.init:
                continue
            there = repeated(source.DESCRIPTOR.fields_by_name[name]) or source.HasField(name)
            if not there and required(option):
                raise ValueError(f"{name} is missing in {cls.field}")
            given[name] = None if not there and option.default is None else plain(source, name)
        return cls(**given).resolve(context.bottoms)

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
        for option in dataclasses.fields(self):
            if option.name != "four_axes":
                put(message, self.field, option.name, getattr(self, option.name))

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

    def params_of(self, sizes: Sequence[int], bottoms: int) -> tuple[Shape, ...] | None:
        """The shapes of learnable blobs whose sizes alone are known, where only data tell the bottoms' shapes.

        Args:
            sizes: How many numbers each blob has.
            bottoms: How many bottoms the layer has.

        Returns:
            What `params` gives for the bottoms that make blobs of these sizes; None where none do.
        """
        outputs, group = getattr(self, "num_output", 1), getattr(self, "group", 1)
        inputs = sizes[0] // outputs
        windows = inputs * group // math.prod(getattr(self, "kernel", (1,)))
        for channels in dict.fromkeys((windows, inputs, math.isqrt(sizes[0]), *sizes)):
            for bottom in ((1, channels, 1, 1), (1, channels)):
                try:
                    shapes = self.params([bottom] * bottoms)
                except (ValueError, IndexError):
                    continue
                if list(map(count, shapes)) == list(sizes):
                    return shapes
        return None

    def reach(self, bottom: Shape, top: Shape) -> tuple[Reach, Reach] | None:
        """What of a map (N, C, H, W) an element of the top depends on; by default a pointwise type's own place.

        Args:
            bottom: Shape of the first bottom.
            top: Shape of the top.

        Returns:
            (low, high, step) by row and by column: element i depends on elements step * i + low to step * i + high.
            None where it depends on all of them, or an element of the top has no place.
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

    def dropped(self) -> float | None:
        """The share of elements that training drops by a mask, drawn from Caffe's process generator, one output each.

        Returns:
            The share; None for types without such a mask.
        """
        return None

    def neutral_blobs(self) -> Mapping[int, float]:
        """What blobs hold for the layer to change nothing, where fillers would make it divide by next to nothing.

        Returns:
            One value for all numbers of a blob, by the blob's index.
        """
        return {}

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

    def other_meaning(self, dialect: str) -> str:
        """What was taken for a layer whose text means something else in another fork.

        Args:
            dialect: The dialect that was found out.

        Returns:
            The end of a sentence that begins with the layer; "" where there is one meaning.
        """
        return ""

    def rule(self) -> str:
        """Which of the meanings that forks give to the text of this type is meant.

        Returns:
            The meaning's name, "" where the type has but one.
        """
        return ""


T = TypeVar("T", bound=Options)


def required(option: dataclasses.Field[Any]) -> bool:
    """Whether options cannot be made without a value for one of theirs.

    Args:
        option: The option, one of `dataclasses.fields`.

    Returns:
        Whether it has no default.
    """
    return option.default is option.default_factory is dataclasses.MISSING
