"""The table of layer types: what everybody may know of each, and where it is looked up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from prototxt_import.layers.base import Options, T
from prototxt_import.values import LayerSpec


@dataclass(frozen=True)
class LayerType:
    """A row of the table: what everybody may know of a layer type.

    Args:
        name: Its V2 name.
        options: Its options dataclass.
        field: The layer's field that holds its parameters, "" for none.
        v1: Its name in V1's enum.
        v0: Its names in the oldest format.
        bottoms: The least and the most that a layer may have (None: any number).
        tops: As `bottoms`.
        loss: Whether the first top counts in the total, and may be anonymous.
        data: Whether it makes its tops from files, so that they are inputs of a net that does not run it.
        frozen: Whether its blobs are no subject of training, so that an unset lr_mult means 0.
        pointwise: Whether an element of a top depends on the same position below, across channels at most, unless the
            options say otherwise (`Options.reach`, `per_position`); so the type means the same at every rate.
        affine: Whether it is, with one bottom, a fixed factor and summand per channel where `Options.per_channel`
            holds; what they are tells the module that runs it (deeplab_repro.layers.CaffeLayer.channel_map).
        train_only: Whether it is the identity in phase TEST, unless the options say otherwise (`Options.idle_in_test`).
        class_loss: Whether it is a loss of scores, its first bottom, by class labels, its second.
        scorer: Whether it judges scores by labels, as Accuracy does.
        decides: Whether it makes an answer of scores, as ArgMax and Softmax do.
        only_sizes: The bottoms, by index, of which the shape counts and no value.
        keeps_place: Whether the forks that align a Crop by the layers before it know that the type keeps coordinates.
        only_in: Whose files alone have the type, which tells their dialect: "forks" (those of DeepLab and its kin),
            "bvlc" (BVLC Caffe after the v2 fork had left it), "crfrnn", "segnet" (and ENet), or "".
        late: Whether BVLC took it up only after HED, CRF-RNN and SegNet had left.
    """

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
    class_loss: bool = False
    scorer: bool = False
    decides: bool = False
    only_sizes: tuple[int, ...] = ()
    keeps_place: bool = False
    only_in: str = ""
    late: bool = False


_types: dict[str, LayerType] = {}


def register(name: str, **row: Any) -> Callable[[type[T]], type[T]]:
    """Class decorator: enter an options dataclass in the table of layer types.

    Args:
        name: The type's V2 name.
        row: The rest of the row, as in LayerType.

    Returns:
        The decorator.

    Raises:
        ValueError: The name is taken, or the V1 name is.
    """

    def enter(options: type[T]) -> type[T]:
        entered = LayerType(name, options, **row)
        rivals = [rival.name for rival in _types.values() if entered.v1 and rival.v1 == entered.v1]
        if name in _types or rivals:
            raise ValueError(f"layer type {name!r} is registered already{f' as {rivals[0]!r}' if rivals else ''}")
        options.field, options.pointwise = entered.field, entered.pointwise
        _types[name] = entered
        return options

    return enter


def lookup(name: str) -> LayerType | None:
    """The table's row of a layer type.

    Args:
        name: The V2 name.

    Returns:
        The row, or None where no such type is registered.
    """
    return _types.get(name)


def is_class_loss(layer: LayerSpec) -> bool:
    """Whether a layer is a loss of scores, its first bottom, by class labels, its second.

    Args:
        layer: Any layer.

    Returns:
        The answer; False for types that the table lacks.
    """
    row = lookup(layer.type)
    return row is not None and row.class_loss


def is_source(layer: LayerSpec) -> bool:
    """Whether a layer makes its tops from files.

    Args:
        layer: The layer.

    Returns:
        The answer.
    """
    row = lookup(layer.type)
    return row is not None and row.data


def layer_types() -> tuple[LayerType, ...]:
    """All rows of the table.

    Returns:
        The rows in order of registration.
    """
    return tuple(_types.values())
