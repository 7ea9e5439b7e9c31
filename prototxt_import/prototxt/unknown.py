"""Layer types that nobody knows: all of a file's in one message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prototxt_import.errors import CaffeFormatError, complain, nearest
from prototxt_import.layers import layer_types
from prototxt_import.prototxt.text import Block
from prototxt_import.prototxt.upgrade import v1_names

# Unknown types, and layers of each, that an error names.
MAX_NAMES = 40


_DEPTHWISE = "it is Convolution with `group` equal to its channels: call it that, with such a group"
_BOXES = "SSD's boxes are not for this program: end the net before them"
_RECURRENT = "recurrent layers do not run here"
# Types of well-known forks that no fork of the families here has, and what to do about them.
_ELSEWHERE = {
    "DepthwiseConvolution": _DEPTHWISE,
    "ConvolutionDepthwise": _DEPTHWISE,
    "ConvolutionDepthWise": _DEPTHWISE,
    "ReLU6": "it is Clip with clip_param { min: 0 max: 6 }: write that",
    "AnnotatedData": _BOXES,
    "DetectionEvaluate": _BOXES,
    "DetectionOutput": _BOXES,
    "MultiBoxLoss": _BOXES,
    "PriorBox": _BOXES,
    "LSTM": _RECURRENT,
    "LSTMUnit": _RECURRENT,
    "RNN": _RECURRENT,
}


def check_v1_types(blocks: Sequence[Block], source: str) -> None:
    """Check the types of V1 layers, enum values at the first unknown of which protobuf would stop.

    Args:
        blocks: What `text.scan` gives of the file.
        source: The file's name.

    Raises:
        CaffeFormatError: Nobody knows some of them.
    """
    named = [block for block in blocks if block.keyword == "layers" and block.words.get("type", "").isidentifier()]
    _check_block_types(named, {*v1_names(), "NONE"}, source)


def check_v2_types(blocks: Sequence[Block], source: str) -> None:
    """Check the types of V2 layers in a text that has not been parsed.

    Args:
        blocks: What `text.scan` gives of the file.
        source: The file's name.

    Raises:
        CaffeFormatError: Nobody knows some of them.
    """
    named = [block for block in blocks if block.keyword == "layer" and block.words.get("type", "")[:1] in ("'", '"')]
    _check_block_types(named, _v2_types(), source)


def check_types(layers: Sequence[tuple[Any, int | None]], source: str) -> None:
    """Check the types of parsed layers.

    Args:
        layers: Their messages and lines.
        source: The file's name.

    Raises:
        CaffeFormatError: Nobody knows some of them.
    """
    known = _v2_types()
    wrong = [(message.type, message.name, line) for message, line in layers if message.type not in known]
    if wrong:
        raise _unknown_types(wrong, known, source)


def _v2_types() -> set[str]:
    return {*(row.name for row in layer_types()), "Input"}


def _check_block_types(blocks: Sequence[Block], known: set[str], source: str) -> None:
    layers = [(_word(block, "type"), _word(block, "name"), block.line) for block in blocks]
    wrong = [layer for layer in layers if layer[0] not in known]
    if wrong:
        raise _unknown_types(wrong, known, source)


def _word(block: Block, name: str) -> str:
    return block.words.get(name, "").strip("\"'")


def _unknown_types(wrong: Sequence[tuple[str, str, int | None]], known: set[str], source: str) -> CaffeFormatError:
    by_type: dict[str, list[str]] = {}
    for kind, name, _ in wrong:
        by_type.setdefault(kind, []).append(repr(name))
    shown_types = []
    for kind, names in list(by_type.items())[:MAX_NAMES]:
        shown = ", ".join(names[:MAX_NAMES]) + (f" and {len(names) - MAX_NAMES} more" if names[MAX_NAMES:] else "")
        hint = _ELSEWHERE.get(kind) or nearest(kind, known).removeprefix("; ").rstrip("?")
        shown_types.append(f"{kind or 'no type'} (layer{'s' * (len(names) > 1)} {shown}{'; ' + hint if hint else ''})")
    if len(by_type) > MAX_NAMES:
        shown_types.append(f"and {len(by_type) - MAX_NAMES} more types")
    return complain(
        f"unknown layer type{'s' if len(shown_types) > 1 else ''}: {'; '.join(shown_types)}; "
        "prototxt_import.layer_type registers a type of your own",
        source=source,
        line=wrong[0][2],
    )
