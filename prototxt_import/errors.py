"""The one exception every reader, checker and writer of this package raises for bad Caffe files, and what it says."""

from __future__ import annotations

import codecs
import difflib
import itertools
from collections.abc import Iterable

# Longer ones only come from files that hold absurd names.
MAX_LENGTH = 1000
# How bytes that are not UTF-8 become text, in prototxts and in models alike, so that names still match.
ODD_BYTES = "prototxt_import.odd_bytes"
# Names that a misspelt one is compared with; comparing is slow.
MAX_KNOWN = 1000


class CaffeFormatError(ValueError):
    """A Caffe file, or a net described by one, that cannot be read, understood or written.

    The message is one line: `file:line: layer 'name' (Type): what is wrong; what to do`, as far as those are known.

    Example:
        >>> from prototxt_import import CaffeFormatError, parse_net
        >>> try:
        ...     parse_net('layer { name: "a" type: "Relu" bottom: "x" top: "y" }', source="net.prototxt")
        ... except CaffeFormatError as error:
        ...     print(error)
        net.prototxt:1: unknown layer type: Relu (layer 'a'; did you mean 'ReLU'); ...
    """


def other_file(head: bytes) -> str:
    """What a file that was to be Caffe's really is, where people often have another in its place.

    Args:
        head: The file's first bytes.

    Returns:
        A fault for `complain`, "" for files that may be Caffe's.
    """
    start = head.lstrip()[:64].lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "is a web page and not the file; download the file itself (on GitHub by its Raw button)"
    if start.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer and not the file; `git lfs pull` fetches it"
    # After the byte order mark a character of ASCII, of which one byte is 0.
    marks = {codecs.BOM_UTF16_LE: head[2:3], codecs.BOM_UTF16_BE: head[3:4]}
    if len(head) > 3 and 0 in head[2:4] and marks.get(head[:2], b"\0") != b"\0":
        return "is text in UTF-16, which Caffe does not read either; save it as UTF-8"
    return ""


def _as_latin_1(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("latin-1"), error.end


codecs.register_error(ODD_BYTES, _as_latin_1)


def complain(
    fault: str,
    *,
    source: str = "",
    line: int | None = None,
    layer: str | None = None,
    type_name: str | None = None,
) -> CaffeFormatError:
    """Build a CaffeFormatError with its place in front.

    Args:
        fault: What is wrong, and what to do.
        source: The file's name.
        line: The line in it.
        layer: The layer's name.
        type_name: The layer's type.

    Returns:
        The error, to be raised.
    """
    place = source if line is None else f"{source or '<net>'}:{line}"
    if layer is not None:
        where = f"layer {layer!r}" + (f" ({type_name})" if type_name else "")
        place = f"{place}: {where}" if place else where
    # Names taken from hostile files may hold line breaks; a message stays one line whatever they hold.
    message = " ".join((f"{place}: {fault}" if place else fault).split())
    return CaffeFormatError(message if len(message) <= MAX_LENGTH else message[: MAX_LENGTH - 4] + " ...")


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint at what was meant.

    Args:
        word: A word that nobody knows.
        known: The words that it may have been.

    Returns:
        `; did you mean 'x'?` for the one most like it, "" where none is.
    """
    # Case mistakes ("conv" for "CONV") are near, but difflib counts every letter of them.
    by_folded = {name.casefold(): name for name in itertools.islice(known, MAX_KNOWN)}
    # difflib takes quadratic time, and nothing known is longer than this.
    matches = difflib.get_close_matches(word[:80].casefold(), by_folded, 1)
    return f"; did you mean {by_folded[matches[0]]!r}?" if matches else ""
