"""One layer's message to a LayerSpec, and multipliers settled between layers that share blobs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prototxt_import.errors import complain
from prototxt_import.layers import Context, lookup
from prototxt_import.layers.messages import plain
from prototxt_import.layers.python import python_type
from prototxt_import.layers.table import LayerType
from prototxt_import.prototxt.families import LATE_FORKS
from prototxt_import.values import LayerSpec, ParamSpec
from prototxt_import.wiring import default_loss_weights, default_param


@dataclass(frozen=True)
class Draft:
    """A layer whose multipliers may yet come from a sharer: None where the file says nothing."""

    layer: LayerSpec
    row: LayerType
    multipliers: tuple[tuple[float | None, float | None], ...]
    default: ParamSpec


def draft(message: Any, line: int | None, context: Context, source: str) -> Draft:
    """A layer as its message gives it.

    Args:
        message: Its LayerParameter; the type of a known Python layer is written into it.
        line: The line it begins on.
        context: What else decides its options.
        source: The file's name.

    Returns:
        The layer, its multipliers open.

    Raises:
        CaffeFormatError: A field is wrong.
    """
    if message.type == "Python":
        message.type = python_type(message)
    elif message.type == "DenseCRF" and message.HasField("densecrf_param"):
        message.type = "LabelCRF"
    row = lookup(message.type)
    assert row is not None  # unknown.check_types has seen it
    try:
        options = row.options.parse(message, context)
        blobs = options.blob_count(context.bottoms)
        entries = list(message.param)
        if row.frozen and context.dialect in LATE_FORKS:
            if len(entries) == blobs:
                # They drop these blocks, names included, when they load a file.
                entries = []
            if any(entry.lr_mult for entry in entries):
                raise ValueError("Caffe refuses an lr_mult other than 0 for its statistics; give lr_mult: 0, or none")
        if len(entries) > blobs:
            raise ValueError(f"has {len(entries)} param entries for {blobs} learnable blobs")
        weights = tuple(plain(message, "loss_weight")) or default_loss_weights(row, context.tops)
        if len(weights) != max(context.tops, row.loss):
            raise ValueError(f"has {len(weights)} loss_weight for {context.tops} tops")
        if message.propagate_down and len(message.propagate_down) != context.bottoms:
            raise ValueError(f"has {len(message.propagate_down)} propagate_down for {context.bottoms} bottoms")
    except (ValueError, OverflowError) as error:
        raise complain(str(error), source=source, line=line, layer=message.name, type_name=message.type) from None
    params = [ParamSpec(name=entry.name, share_mode=plain(entry, "share_mode")) for entry in entries]
    multipliers: list[tuple[float | None, float | None]] = [
        (
            plain(entry, "lr_mult") if entry.HasField("lr_mult") else None,
            plain(entry, "decay_mult") if entry.HasField("decay_mult") else None,
        )
        for entry in entries
    ]
    missing = blobs - len(entries)
    layer = LayerSpec(
        name=message.name,
        type=message.type,
        bottoms=tuple(message.bottom),
        tops=tuple(message.top),
        options=options,
        params=(*params, *[ParamSpec()] * missing),
        loss_weights=weights,
        propagate_down=tuple(message.propagate_down),
        phase=plain(message, "phase") if message.HasField("phase") else "",
        strict_dim=context.strict_dim,
        line=line,
    )
    # The v2 fork does not set the rates of BatchNorm's blobs to 0: weight decay shrinks them unless the file does.
    default = ParamSpec() if row.name == "BatchNorm" and context.dialect == "v2" else default_param(row)
    return Draft(layer, row, (*multipliers, *[(None, None)] * missing), default)


def shared(drafts: Sequence[Draft]) -> tuple[LayerSpec, ...]:
    """Settle multipliers: blobs of one name take what any of them is given; wiring.check_sharing judges conflicts.

    Args:
        drafts: The net's layers.

    Returns:
        The layers with every multiplier set.
    """
    settled: dict[tuple[str, int], float] = {}
    for draft in drafts:
        for param, given in zip(draft.layer.params, draft.multipliers, strict=True):
            for fact, value in enumerate(given):
                if param.name and value is not None:
                    settled.setdefault((param.name, fact), value)
    result = []
    for draft in drafts:
        default = draft.default
        params = []
        fixed = draft.layer.options.fixed_blobs()
        for index, (param, (rate, decay)) in enumerate(zip(draft.layer.params, draft.multipliers, strict=True)):
            if index in fixed:
                rate = decay = 0.0
            if rate is None:
                rate = settled.get((param.name, 0), default.lr_mult)
            if decay is None:
                decay = settled.get((param.name, 1), default.decay_mult)
            params.append(dataclasses.replace(param, lr_mult=rate, decay_mult=decay))
        result.append(dataclasses.replace(draft.layer, params=tuple(params)))
    return tuple(result)
