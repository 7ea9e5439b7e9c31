"""The one exception every reader, checker and writer of this package raises for bad Caffe files."""

from __future__ import annotations

# Longer ones only come from files that hold absurd names.
MAX_LENGTH = 1000


class CaffeFormatError(ValueError):
    """A Caffe file, or a net described by one, that cannot be read, understood or written.

    The message is one line: `file:line: layer 'name' (Type): what is wrong; what to do`, as far as those are known."""


def complain(
    what: str,
    *,
    source: str = "",
    line: int | None = None,
    layer: str | None = None,
    type_name: str | None = None,
) -> CaffeFormatError:
    """Build a CaffeFormatError with its place in front of `what`."""
    place = source if line is None else f"{source or '<net>'}:{line}"
    if layer is not None:
        where = f"layer {layer!r}" + (f" ({type_name})" if type_name else "")
        place = f"{place}: {where}" if place else where
    # Names taken from hostile files may hold line breaks; a message stays one line whatever they hold.
    message = " ".join((f"{place}: {what}" if place else what).split())
    return CaffeFormatError(message if len(message) <= MAX_LENGTH else message[: MAX_LENGTH - 4] + " ...")
