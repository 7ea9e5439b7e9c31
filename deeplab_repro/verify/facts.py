"""Published numbers that follow from a net's description or from this program's own tables: no data, no weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from deeplab_repro import zoo
from deeplab_repro.crf.model import CRFParams
from deeplab_repro.inspect.fields import receptive_fields
from deeplab_repro.inspect.net import multiply_accumulates, parameter_count
from deeplab_repro.verify.records import Record

# Side of the input at which the nets of v1's table 2 have scores 41 a side: the 2x2 pools need 8k + 2.
SIDES = {"deeplab_7x7": 322, "deeplab": 322, "deeplab_4x4": 322, "deeplab_largefov": 321}


def parameters(record: Record) -> float:
    """Learnable numbers of the net, in millions.

    Args:
        record: The record; `of` names the net or preset.

    Returns:
        Our value.
    """
    return parameter_count(zoo.spec(record.of)) / 1e6


def field_of_view(record: Record) -> float:
    """The nominal field of view of the net's fc6, in pixels, by the papers' formula.

    Args:
        record: The record; `of` names the net or preset.

    Returns:
        Our value.
    """
    fc6 = zoo.spec(record.of).layer("fc6").options
    return float(zoo.field_of_view(fc6.kernel[0], fc6.dilation[0]))


def receptive_field(record: Record) -> float:
    """Input pixels a side that one element of fc6 depends on, followed layer by layer.

    Args:
        record: The record; `of` names the net or preset.

    Returns:
        Our value.

    Raises:
        ValueError: fc6 sees the whole input.
    """
    field = receptive_fields(zoo.spec(record.of))["fc6"]
    if field is None:
        raise ValueError(f"{record.of}: fc6 sees the whole input")
    return field.size[0]


def map_size(record: Record) -> float:
    """Side of the training net's scores; `of` is NET@SIDE.

    Args:
        record: The record; `of` names the net or preset.

    Returns:
        Our value.
    """
    name, _, side = record.of.partition("@")
    return float(zoo.map_size(zoo.spec(name, phase="TRAIN", size=(int(side), int(side))))[0])


def extra_channels(record: Record) -> float:
    """Channels that the multi-layer branches add to fc7's, where they are joined as the paper words it.

    Args:
        record: The record; `of` names the net or preset.

    Returns:
        Our value.
    """
    net = zoo.spec(record.of, phase="TRAIN", fusion="features")
    return float(net.blobs["fc7_ms"][1] - net.blobs["fc7"][1])


def crf_parameter(record: Record) -> float:
    """What the preset of this program has for the parameter.

    Args:
        record: The record; `of` names the net or preset.

    Returns:
        Our value.
    """
    return float(getattr(CRFParams.preset(record.of), record.metric))


QUANTITIES: Mapping[str, Callable[[Record], float]] = {
    function.__name__: function
    for function in (parameters, field_of_view, receptive_field, map_size, extra_channels, crf_parameter)
}


def compute(record: Record) -> float:
    """Our value for a record that can be checked here.

    Args:
        record: The record.

    Returns:
        The value in the record's unit.

    Raises:
        ValueError: Nobody computes the quantity.
    """
    if record.quantity not in QUANTITIES:
        raise ValueError(f"{record.id}: unknown quantity {record.quantity!r}; known: {', '.join(QUANTITIES)}")
    return QUANTITIES[record.quantity](record)


def gigaflops(name: str) -> float:
    """Arithmetic of one forward pass of a training net at scores 41 a side.

    Args:
        name: A key of SIDES.

    Returns:
        Billions of operations, two per multiply-accumulate.
    """
    side = SIDES[name]
    net = zoo.spec(name, phase="TRAIN", size=(side, side))
    return 2e-9 * sum(multiply_accumulates(layer, net) for layer in net.layers)
